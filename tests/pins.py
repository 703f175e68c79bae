"""Whether the lists of exact pins are in step with pyproject.toml: `python -m tests.pins`, without a network.

`make requirements` compiles them anew.
"""

import re
import sys
import tomllib
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

PROJECT = Path(__file__).resolve().parent.parent


def pins(text: str) -> dict[str, str]:
    """Version by package, of a compiled list."""
    found = re.findall(r"^([A-Za-z0-9._-]+)==([^\s;]+)", text, flags=re.MULTILINE)
    return {canonicalize_name(name): version for name, version in found}


def out_of_step(pyproject: str, requirements: str, tests_requirements: str) -> list[str]:
    """One sentence for each difference; the arguments are the three files' texts."""
    told = tomllib.loads(pyproject)
    service, tests = pins(requirements), pins(tests_requirements)
    problems = []
    for file, pinned, wanted in (
        ("requirements.txt", service, told["project"]["dependencies"]),
        ("tests/requirements.txt", tests, told["dependency-groups"]["test"]),
    ):
        for line in wanted:
            requirement = Requirement(line)
            version = pinned.get(canonicalize_name(requirement.name))
            if version is None:
                problems.append(f"{file} has no pin for {requirement.name}.")
            elif not requirement.specifier.contains(version, prereleases=True):
                problems.append(f"{file} pins {requirement.name} {version}, pyproject.toml wants {line}.")
    problems += [
        f"{name} is pinned to {service[name]} and, for the tests, to {tests[name]}."
        for name in sorted(service.keys() & tests.keys())
        if service[name] != tests[name]
    ]
    return problems


def main() -> int:
    names = ("pyproject.toml", "requirements.txt", "tests/requirements.txt")
    problems = out_of_step(*((PROJECT / name).read_text() for name in names))
    for problem in problems:
        print(f"{problem} Run `make requirements`.")
    return bool(problems)


if __name__ == "__main__":
    sys.exit(main())
