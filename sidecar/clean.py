"""``sidecar clean``: shows what runs that were killed whole have left, asks, and ends it as a next start would."""

from __future__ import annotations

from sidecar.console.ask import agreed
from sidecar.console.sheet import Row, Sheet
from sidecar.console.words import GOOD, WARN
from sidecar.diagnostics import say
from sidecar.host.fds import is_terminal
from sidecar.host.leftovers import Leftovers
from sidecar.host.survey import Survey
from sidecar.pumps import write_all
from sidecar.wire.messages import SupervisorSwept
from sidecar.wire.session import json_line

EXIT_LEFT = 1
EXIT_USAGE = 2


def run(survey: Survey, *, dry_run: bool, yes: bool, as_json: bool) -> int:
    """Show, ask and sweep; the exit code."""
    if not (dry_run or yes) and (as_json or not is_terminal(0)):
        say("error", "there is nobody to ask: use --dry-run to look, or --yes to end what is left")
        return EXIT_USAGE
    found = survey.find()
    if as_json and dry_run:
        return _tell(found)
    if not as_json:
        sheet = Sheet()
        draw(found, sheet)
        sheet.show()
        if found == Leftovers():
            return 0
        if not (dry_run or yes) and not agreed("End and remove all of this?"):
            return 0
    if dry_run:
        return 0
    report = survey.end(found) or SupervisorSwept((), 0, 0, 0, ())
    if as_json:
        return max(_tell(report), EXIT_LEFT if report.problems else 0)
    sheet = Sheet()
    count = len(report.processes)
    sheet.line(
        (f"ended {count} process{'es' * (count != 1)}; nothing else is left", GOOD) if not report.problems else ""
    )
    for problem in report.problems:
        sheet.line((problem, WARN))
    sheet.show()
    return EXIT_LEFT if report.problems else 0


def draw(found: Leftovers, sheet: Sheet) -> None:
    """What would be ended and removed, and why it is known to be left."""
    if found == Leftovers():
        sheet.line("Nothing is left of earlier runs.")
        return
    processes: list[Row] = [
        *((str(it.pid), it.command or "?", f"in {group.folder}") for group in found.groups for it in group.processes),
        *((str(it.pid), it.command or "?", f"of run {run.run_id}") for run in found.runs for it in run.processes),
    ]
    if processes:
        sheet.heading("Processes to be ended")
        sheet.table(("pid", "command", "known by"), processes)
    things: list[Row] = [
        *(("control group", group.folder) for group in found.groups),
        *(("record of a dead run", run.record) for run in found.runs),
        *(("unfinished file", path) for path in found.drafts),
        *(("unpacked folder of a killed sidecar", folder) for folder in found.folders),
        *(("unreadable record, to be put aside", path) for path in found.unreadable),
    ]
    if things:
        sheet.heading("To be removed")
        sheet.table(("what", "where"), things)
    for problem in found.problems:
        sheet.line((problem, WARN))


def _tell(what: Leftovers | SupervisorSwept) -> int:
    return 0 if write_all(1, json_line(what)) else EXIT_LEFT
