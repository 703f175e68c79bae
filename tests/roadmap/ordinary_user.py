"""For tests that run as root: somebody who is not, with a Python that they can run."""

import functools
import os
import pwd
import shutil
import subprocess
import sys
import sysconfig
import tempfile
from pathlib import Path

from roadmap.server.binaries import reachable

SITE_PACKAGES = Path(sysconfig.get_path("purelib"))
SKIPPED = shutil.ignore_patterns("test", "tests", "__pycache__", "site-packages", "idlelib", "*.a", "share")


def somebody() -> pwd.struct_passwd:
    """Ourselves, or as root `nobody`: never the one that PostgreSQL would choose for root's folders."""
    return pwd.getpwnam("nobody") if os.geteuid() == 0 else pwd.getpwuid(os.geteuid())


@functools.cache
def python(scratch: Path) -> tuple[Path, dict[str, str]]:
    """A Python that `somebody` can run, and what it needs in its environment.

    Below root's own folder it is copied to `scratch` once.
    """
    base = Path(sys.base_prefix).resolve()
    program = Path("bin") / f"python3.{sys.version_info.minor}"
    if reachable(base / program, somebody()):
        return base / program, {}
    copy = scratch / "python"
    shutil.copytree(base, copy, symlinks=True, ignore=SKIPPED)
    return copy / program, {"LD_LIBRARY_PATH": str(copy / "lib")}


def make_venv(interpreter: Path, folder: Path, variables: dict[str, str]) -> None:
    """A virtual environment in `folder` with everything that ours has."""
    environment = {**os.environ, **variables}
    subprocess.run([interpreter, "-m", "venv", "--without-pip", folder], env=environment, check=True)
    packages = next((folder / "lib").glob("python3*/site-packages"))
    if reachable(SITE_PACKAGES, somebody()):
        (packages / "tests.pth").write_text(f"{SITE_PACKAGES}\n")
    else:
        shutil.copytree(SITE_PACKAGES, packages, dirs_exist_ok=True)


def hand_over(folder: Path) -> None:
    """Give `folder` and all that is in it to `somebody`."""
    if os.geteuid() == 0:
        user = somebody()
        for path in (folder, *folder.rglob("*")):
            os.chown(path, user.pw_uid, user.pw_gid, follow_symlinks=False)


def open_folder() -> Path:
    """An empty folder that everybody may enter, unlike pytest's; with a space in its path."""
    folder = Path(tempfile.mkdtemp(prefix="roadmap test-", dir="/tmp"))
    folder.chmod(0o755)
    return folder
