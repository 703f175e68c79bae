"""The parts of README.md that tests hold against the real thing."""

import re

from tests.service import PROJECT

README = (PROJECT / "README.md").read_text()


def marked(name: str) -> str:
    """What comes after the comment `name`: a fenced block without its fence, or a table."""
    _, found, after = README.partition(f"<!-- {name} -->\n")
    assert found, f"the README has no <!-- {name} -->"
    if after.startswith("```"):
        return after.partition("\n")[2].partition("\n```")[0]
    return after.partition("\n\n")[0]


def table(name: str) -> list[list[str]]:
    """The cells of a table's rows, without its head."""
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in marked(name).splitlines()[2:]]


def output(name: str) -> str:
    """What a console block shows behind the command."""
    return marked(name).partition("\n")[2]


def code() -> list[str]:
    """All code of the README: what is in backticks, and the lines of the fenced blocks."""
    blocks = re.findall(r"^```\w*\n(.*?)^```$", README, re.DOTALL | re.MULTILINE)
    text = re.sub(r"^```\w*\n.*?^```$", "", README, flags=re.DOTALL | re.MULTILINE)
    return [*re.findall(r"`([^`]+)`", text), *(line for block in blocks for line in block.splitlines())]
