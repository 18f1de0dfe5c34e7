"""``sidecar ps``: every sidecar of this user that lives, with its app, its services, and what holds them."""

from __future__ import annotations

import time

from sidecar.console.sheet import Cell, Sheet
from sidecar.console.words import BAD, DIM, GOOD, LINK, NAME, WARN, size, uptime
from sidecar.host.runs import Overview, Program, Running, RunningService
from sidecar.host.survey import Survey
from sidecar.pumps import write_all
from sidecar.wire.session import json_line

WATCH_S = 1.0
"""Between two looks: nothing tells of another sidecar's changes, and a person does not read faster."""

EXIT_UNREAD = 1
"""Nobody reads what we print."""

CLEARED = "\x1b[H\x1b[J"
"""The cursor to the top, and nothing below it."""

COMMAND_SHOWN = 60
"""So much of the app's command line is shown."""

_STATES = {"ready": GOOD, "failed": BAD, "unhealthy": WARN, "backingOff": WARN}


def run(survey: Survey, *, as_json: bool, watch: bool) -> int:
    """Show them, once or until Ctrl-C; the exit code."""
    last = ""
    while True:
        found = survey.overview()
        sheet = Sheet()
        clear = CLEARED if watch and sheet.controls and not as_json else ""
        text = json_line(found).decode() if as_json else _drawn(found, sheet)
        if (text != last or clear) and not write_all(1, (clear + text).encode("utf-8", "backslashreplace")):
            return EXIT_UNREAD
        last = text
        if not watch:
            return 0
        time.sleep(WATCH_S)


def _drawn(found: Overview, sheet: Sheet) -> str:
    for running in found.runs:
        _draw(running, sheet)
    if not found.runs:
        sheet.line("No sidecar is running.")
    if found.dead:
        sheet.line()
        what = "1 run was killed whole" if found.dead == 1 else f"{found.dead} runs were killed whole"
        sheet.line((f"{what}: 'sidecar clean' shows and ends what is left of it; any next start does, too.", WARN))
    if found.elsewhere:
        sheet.line()
        what = "1 more runs" if found.elsewhere == 1 else f"{found.elsewhere} more run"
        sheet.line((f"{what} in other pid namespaces (containers): ask there.", DIM))
    if found.unrecorded:
        sheet.line()
        pids = ", ".join(str(it.pid) for it in found.unrecorded)
        sheet.line((f"Started by a sidecar that has no record here (another state folder?): pid {pids}.", WARN))
    for problem in found.problems:
        sheet.line((problem, WARN))
    return sheet.take()


def _draw(running: Running, sheet: Sheet) -> None:
    app = running.app
    if app is not None:
        sheet.heading(f"{_short(app)} (pid {app.pid})")
    else:
        sheet.heading("an app that is not watched")
    owners = [_owner("supervisor", running.supervisor)]
    if running.guard is not None or running.guarantees.get("guard"):
        owners.append(_owner("guard", running.guard))
    since = running.supervisor or running.guard
    facts = [f"up {uptime(since.uptime_ms / 1000)}"] if since else []
    sheet.line((", ".join([*owners, *facts, size(running.memory_bytes)]), DIM))
    sheet.line((f"layers: {_layers(running.guarantees)}", DIM))
    head = ("service", "state", "pid", "url", "up", "processes", "memory")
    sheet.table(head, (_row(service) for service in running.services))
    if not running.services:
        sheet.line("no service was started")


def _row(service: RunningService) -> list[Cell | str]:
    program = service.program
    where: Cell | str = "-"
    if service.url is not None:
        where = (service.url, LINK)
    elif service.port is not None:
        where = (f"port {service.port}, nobody listens yet", DIM)
    return [
        (service.name, NAME),
        (service.state, _STATES.get(service.state, "")),
        str(program.pid) if program else "-",
        where,
        uptime(program.uptime_ms / 1000) if program else "-",
        str(service.processes),
        size(service.memory_bytes),
    ]


def _owner(name: str, program: Program | None) -> str:
    return f"{name} is gone" if program is None else f"{name} {program.pid}"


def _short(program: Program) -> str:
    command = program.command or "an app"
    return command if len(command) <= COMMAND_SHOWN else f"{command[: COMMAND_SHOWN - 3]}..."


def _layers(guarantees: dict[str, bool | str]) -> str:
    """Those that hold, by the names that ``initialize`` gives them."""
    names = [name for name, value in guarantees.items() if value is True]
    watched = guarantees.get("parentWatch", "none")
    return ", ".join(names if watched == "none" else [*names, f"parentWatch ({watched})"]) or "unknown"
