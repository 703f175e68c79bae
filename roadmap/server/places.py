"""Where the private PostgreSQL of a clone is, and its address. Without Django; starts nothing."""

import contextlib
import hashlib
import os
import secrets
import socket
import tempfile
from pathlib import Path
from urllib.parse import quote

from roadmap.server import binaries

DATABASE = "roadmap_db"
ROLE = "roadmap"  # an ordinary one: superusers pass the slots that the server reserves for them

SOCKET_PORT = 5432  # without TCP it is only a part of the socket's name
LONGEST_SOCKET_PATH = 103  # bytes; macOS takes no more, Linux four more

# Below the ports that systems hand out to outgoing connections: while the server is down, a client that
# tries such a port again and again can end up connected to itself, and then the port is taken.
TCP_PORTS = range(15000, 32000)


def database_url(project_folder: Path) -> str | None:
    """The address of the clone's private database, running or not; None before the first `make run`."""
    folder = home(project_folder)
    if folder is None or not os.path.exists(folder / "data" / "PG_VERSION"):  # noqa: PTH110 - says False where it may not look
        return None
    return url(DATABASE, ROLE, socket_folder(folder), SOCKET_PORT)


def home(project_folder: Path) -> Path | None:
    """The folder of the clone's private PostgreSQL, or None before it was made."""
    place = project_folder.resolve() / ".data" / "postgres"
    # A clone that was copied brings a link to the database of the clone that it was copied from.
    if place.is_symlink() and not place.readlink().name.startswith(_outside_prefix(project_folder)):
        return None
    return place.resolve() if place.is_dir() else None


def make_home(project_folder: Path) -> tuple[Path, bool]:
    """`home`, made where it does not exist; and whether it lies outside the project folder.

    It does where root runs this and the server's user does not get into the project folder.
    """
    data = project_folder.resolve() / ".data"
    account = binaries.account_for(data)
    data.mkdir(exist_ok=True)
    if account is not None:
        data.chmod(0o755)  # whatever root's umask is: the server's user passes through
    place = data / "postgres"
    folder = home(project_folder)
    if folder is None:
        if binaries.reachable(data, account):
            folder = place
            folder.mkdir(mode=0o700)
        else:
            folder = Path(tempfile.mkdtemp(prefix=_outside_prefix(project_folder), dir="/var/lib"))
            place.unlink(missing_ok=True)
            place.symlink_to(folder)
        if account is not None and account.pw_uid == project_folder.stat().st_uid:
            os.chown(data, account.pw_uid, account.pw_gid)  # they may run the next one themselves
    return folder, folder != place


def _outside_prefix(project_folder: Path) -> str:
    return f"roadmap-{_digest(project_folder.resolve())}-"


def _digest(path: Path) -> str:
    return hashlib.sha256(os.fsencode(path)).hexdigest()[:12]


def socket_folder(folder: Path) -> Path:
    """Where the server of `folder` has its socket: there, or in /tmp when the path would be too long."""
    inside = folder.resolve() / "socket"
    if len(os.fsencode(inside / ".s.PGSQL.65535")) <= LONGEST_SOCKET_PATH:
        return inside
    return Path("/tmp") / f"roadmap-{_digest(folder.resolve())}"  # noqa: S108 - its owner is checked


def url(database: str, role: str, host: Path | str, port: int, password: str = "") -> str:
    """`host`: a host's name, or the folder of a socket."""
    database = quote(database, safe="")
    if isinstance(host, Path):
        return f"postgresql://{role}@:{port}/{database}?host={quote(str(host))}"
    return f"postgresql://{role}:{password}@{host}:{port}/{database}"


def free_port() -> int:
    """One on loopback, out of TCP_PORTS. Raises PostgresError."""
    for _ in range(100):
        port = secrets.choice(TCP_PORTS)
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port
    raise binaries.PostgresError(f"No free port was found between {TCP_PORTS.start} and {TCP_PORTS.stop}.")
