"""`manage.py check_pools`: the plan of connections, what is open, and what is wrong; as a table or JSON."""

import contextlib
import json
import math
import os
import shutil
import sys
import time
import traceback
from argparse import ArgumentTypeError
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from healthcheck import report as reports
from healthcheck import table
from healthcheck.report import Report

EXITS = {"ok": 0, "warning": 1, "critical": 2, "unknown": 3}
COULD_NOT_RUN = 4
WATCH_SECONDS = 2.0

# What a terminal takes for commands.
HOME, CLEAR, ERASE_LINE, ERASE_BELOW = "\x1b[H", "\x1b[H\x1b[2J", "\x1b[K", "\x1b[J"


def seconds(text: str) -> float:
    with contextlib.suppress(ValueError):
        if math.isfinite(number := float(text)) and number >= 0.1:
            return number
    raise ArgumentTypeError(f"{text!r} is no number of seconds from 0.1 up")


def changes(text: str) -> dict[str, str]:
    found = {}
    for word in text.split():
        name, equals, value = word.partition("=")
        if not name or not equals:
            raise ArgumentTypeError(f"{word!r} is not of the form NAME=value")
        found[name] = value
    if not found:
        raise ArgumentTypeError("it takes NAME=value, such as WEB_INSTANCES=4")
    return found


class Command(BaseCommand):
    help = (
        "Shows the plan of connections beside what is open on the server, and what is wrong. Opens one "
        "connection, in no pool, and waits at most 5 s for it at each of the server's addresses. Exits 0 fine, "
        "1 warning, 2 critical, 3 the database could not be asked, 4 it could not run."
    )
    # They would connect too, and an error of theirs would exit 1, which here is a warning.
    requires_system_checks: list[str] = []

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "--json", action="store_true", help="the same as JSON; with --watch one line each time"
        )
        mode = parser.add_mutually_exclusive_group()
        mode.add_argument(
            "--watch",
            nargs="?",
            type=seconds,
            const=WATCH_SECONDS,
            metavar="SECONDS",
            help=f"look again and again, every {WATCH_SECONDS:g} seconds unless told otherwise, until Ctrl-C",
        )
        mode.add_argument(
            "--what-if",
            type=changes,
            metavar='"NAME=value …"',
            help="the sum for other values, line by line, judged instead of the present plan",
        )
        parser.add_argument(
            "--fail-level",
            choices=("warning", "critical"),
            default="warning",
            help="from which level on to exit with other than 0 (default: warning)",
        )

    def create_parser(self, *args: Any, **kwargs: Any) -> CommandParser:
        parser = super().create_parser(*args, **kwargs)
        parser.called_from_command_line = False  # it raises CommandError, instead of exiting 2
        return parser

    def run_from_argv(self, argv: list[str]) -> None:
        """Run, and exit with `COULD_NOT_RUN` where Django would exit with what is a verdict here."""
        try:
            super().run_from_argv(argv)
        except CommandError as error:
            self.stderr.write(str(error))
        except BrokenPipeError:  # whoever read this has enough; what is left would fail again at the exit
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        except Exception:  # noqa: BLE001  # a crash must not exit 1 and read as a warning
            traceback.print_exc()
        sys.exit(COULD_NOT_RUN)

    def execute(self, *args: Any, **options: Any) -> str | None:
        try:
            return super().execute(*args, **options)
        except CommandError as error:
            error.returncode = COULD_NOT_RUN  # Django's 1 is a verdict here
            raise

    def handle(self, *args: Any, **options: Any) -> None:
        if hasattr(sys.stdout, "reconfigure"):
            sys.stdout.reconfigure(errors="replace")  # a terminal that lacks a character still gets the rest
        if options["watch"] is not None:
            with contextlib.suppress(KeyboardInterrupt):
                self.watch(options)
            sys.exit(0)
        now = reports.take()
        judged = now
        if options["what_if"]:
            try:
                judged = now.what_if(options["what_if"])
            except ValueError as error:
                raise CommandError(str(error)) from None
        if options["json"]:
            what_if = {"what_if": options["what_if"]} if options["what_if"] else {}
            self.stdout.write(json.dumps(judged.as_json() | what_if, indent=2))
        else:
            paint, width = self.paint(options), shutil.get_terminal_size().columns
            if judged is now:
                lines = table.report_lines(now, paint, width)
            else:
                lines = table.comparison_lines(now, judged, options["what_if"], paint, width)
            self.stdout.write("\n".join(lines))
        is_pardoned = judged.status == "warning" and options["fail_level"] == "critical"
        sys.exit(0 if is_pardoned else EXITS[judged.status])

    def watch(self, options: dict[str, Any]) -> None:
        """Show one report after the other, until KeyboardInterrupt."""
        in_place = self.stdout.isatty() and not options["json"]
        if in_place:
            self.stdout.write(CLEAR, ending="")
        with reports.Observer() as observer:
            while True:
                report = observer.look()
                if options["json"]:
                    self.stdout.write(json.dumps(report.as_json()))
                else:
                    self.stdout.write(self.frame(report, options, in_place), ending="")
                self.stdout.flush()
                time.sleep(options["watch"])

    def frame(self, report: Report, options: dict[str, Any], in_place: bool) -> str:
        """What one look prints; in place it is written over the last one, cut to the terminal's height."""
        size = shutil.get_terminal_size()
        paint = self.paint(options)
        verdict = paint(
            report.status, " ".join([report.status, *(finding.id for finding in report.findings)])
        )
        title = f"{time.strftime('%H:%M:%S')}, every {options['watch']:g} s, Ctrl-C ends: {verdict}"
        lines = [title, *table.report_lines(report, paint, size.columns)]
        if not in_place:
            return "\n".join([*lines, "", ""])
        if len(lines) >= size.lines:
            lines[size.lines - 2 :] = [f"… {len(lines) - size.lines + 2} lines more in a higher window"]
        return HOME + "".join(f"{line}{ERASE_LINE}\n" for line in lines) + ERASE_BELOW

    def paint(self, options: dict[str, Any]) -> table.Paint:
        wanted = self.stdout.isatty() and not os.environ.get("NO_COLOR") and not options["no_color"]
        return table.coloured if wanted or options["force_color"] else table.plain
