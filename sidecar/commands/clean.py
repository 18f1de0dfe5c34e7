"""``sidecar clean``: show what killed runs left, ask, and clean up as the next start would."""

from __future__ import annotations

from sidecar.diagnostics import say_error
from sidecar.exit_codes import EXIT_CLEAN, EXIT_FAILED, EXIT_USAGE
from sidecar.host.fds import is_terminal
from sidecar.host.orphans import Orphans, seen
from sidecar.host.survey import Survey
from sidecar.protocol.messages import SupervisorSwept
from sidecar.protocol.rpc import json_line
from sidecar.runtime.streams import write_all
from sidecar.terminal.ansi import printable_json
from sidecar.terminal.messages import GOOD, WARN
from sidecar.terminal.prompt import agreed
from sidecar.terminal.table import Report, Row


def run(survey: Survey, *, dry_run: bool, yes: bool, as_json: bool) -> int:
    """Show, ask and clean up; return the exit code."""
    if not (dry_run or yes) and (as_json or not is_terminal(0)):
        say_error(
            "clean can ask only at a terminal, and not with --json: add --dry-run to list only, or --yes to clean up",
            "options",
            "sidecar clean",
        )
        return EXIT_USAGE
    found = seen(survey.find())
    if as_json and dry_run:
        return _tell(found)
    if not as_json:
        out = Report()
        draw(found, out)
        out.show()
        if found == Orphans():
            return EXIT_CLEAN
        if not (dry_run or yes) and not agreed("End and remove all of this?"):
            return EXIT_CLEAN
    if dry_run:
        return EXIT_CLEAN
    report = survey.end(found) or SupervisorSwept((), 0, 0, 0, ())
    if as_json:
        return max(_tell(report), EXIT_FAILED if report.problems else EXIT_CLEAN)
    out = Report()
    count = len(report.processes)
    out.line((f"ended {count} process{'es' * (count != 1)}; nothing else is left", GOOD) if not report.problems else "")
    for problem in report.problems:
        out.line((problem, WARN))
    out.show()
    return EXIT_FAILED if report.problems else EXIT_CLEAN


def draw(found: Orphans, out: Report) -> None:
    """Show what would be ended and removed, and how we know that a dead run left it."""
    if found == Orphans():
        out.line("Nothing is left of earlier runs.")
        return
    processes: list[Row] = [
        *((str(it.pid), it.command or "?", f"in {group.folder}") for group in found.groups for it in group.processes),
        *((str(it.pid), it.command or "?", f"of run {run.run_id}") for run in found.runs for it in run.processes),
    ]
    if processes:
        out.heading("Processes to end")
        out.table(("pid", "command", "known by"), processes)
    things: list[Row] = [
        *(("control group", group.folder) for group in found.groups),
        *(("record of a dead run", run.record) for run in found.runs),
        *(("unfinished file", path) for path in found.drafts),
        *(("unpacked folder of a killed sidecar", folder) for folder in found.folders),
        *(("unpacked folder of a killed service", it.path) for run in found.runs for it in run.unpacked),
        *(("unreadable record (is renamed)", path) for path in found.unreadable),
    ]
    if things:
        out.heading("To remove")
        out.table(("what", "where"), things)
    for problem in found.problems:
        out.line((problem, WARN))


def _tell(what: Orphans | SupervisorSwept) -> int:
    return EXIT_CLEAN if write_all(1, printable_json(json_line(what).decode()).encode()) else EXIT_FAILED
