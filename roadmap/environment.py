"""Variables read strictly: a bad one is refused by name, in one sentence, and never guessed at."""

import re
from collections.abc import Mapping

MOST = 100_000  # what any count may be: far past every real server, and short enough to print


class BadValue(ValueError):
    """A variable that cannot be taken; the text names it, its value and what it takes."""

    def __init__(self, name: str, value: object, takes: str):
        super().__init__(f"{name} is {value!r}; it takes {takes}.")
        self.name = name


class Reader:
    """Takes values from an environment, and from `defaults` where it has none."""

    def __init__(self, environ: Mapping[str, str], defaults: Mapping[str, object]):
        self.environ = environ
        self.defaults = defaults

    def text(self, name: str) -> str:
        return self.environ.get(name, str(self.defaults[name]))

    def whole(self, name: str, least: int = 0, most: int = MOST) -> int:
        """A whole number, as PostgreSQL and counts need it."""
        text = self.text(name)
        if not re.fullmatch(r"[0-9]{1,9}", text) or not least <= int(text) <= most:
            raise BadValue(name, text, f"a whole number from {least} to {most}")
        return int(text)

    def seconds(self, name: str, least: float = 0.001) -> float:
        """A length of time in seconds, a decimal fraction allowed."""
        text = self.text(name)
        if not re.fullmatch(r"[0-9]{1,9}(\.[0-9]{1,3})?", text) or not least <= float(text) <= MOST:
            raise BadValue(name, text, f"seconds from {least:g} to {MOST}, such as 5 or 0.5")
        return float(text)

    def address(self, name: str) -> str:
        """The address of a server on the web; empty where there is none."""
        text = self.text(name)
        # Never shown: it may have a password in it.
        if text and not re.fullmatch(r"https?://[^\s/?#]+[^\s?#]*", text):
            raise BadValue(name, "…", "an address with http:// or https:// and no query")
        return text.rstrip("/")
