"""Languages that a server's messages can be in; German where the machine has what its locale is made of."""

import subprocess
from pathlib import Path

import pytest

ENGLISH, GERMAN = "C", "de_DE.UTF-8"
LANGUAGES = [ENGLISH, *([GERMAN] if Path("/usr/share/i18n/locales/de_DE").exists() else [])]


def install(language: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let servers that are started from now on speak it; its locale goes into `folder`, which they reach."""
    if language == ENGLISH:
        return
    make = ["localedef", "-i", "de_DE", "-f", "UTF-8", str(folder / language)]
    subprocess.run(make, check=True, timeout=60)
    monkeypatch.setenv("LOCPATH", str(folder))
