"""``sidecar ps``: list this user's living sidecars, each with its app, its services and its active layers."""

from __future__ import annotations

import time

from sidecar.exit_codes import EXIT_CLEAN, EXIT_FAILED
from sidecar.host.runs import Overview, Program, Running, RunningService
from sidecar.host.survey import Survey
from sidecar.protocol.rpc import json_line
from sidecar.runtime.streams import write_all
from sidecar.terminal.ansi import ERASE_BELOW, HOME, printable_json
from sidecar.terminal.messages import BAD, DIM, GOOD, LINK, NAME, WARN, size, uptime
from sidecar.terminal.table import Cell, Report

WATCH_S = 1.0
"""Seconds between two looks. No event reports the changes of other sidecars, and people do not read faster."""

CLEARED = HOME + ERASE_BELOW
"""Move the cursor to the top and erase everything below."""

COMMAND_SHOWN = 60
"""How many characters of the app's command line are shown."""

_STATES = {"ready": GOOD, "failed": BAD, "unhealthy": WARN, "backingOff": WARN}


def run(survey: Survey, *, as_json: bool, watch: bool) -> int:
    """Show the sidecars, once or until Ctrl-C; return the exit code."""
    last = ""
    while True:
        found = survey.overview()
        out = Report()
        clear = CLEARED if watch and out.controls and not as_json else ""
        text = printable_json(json_line(found).decode()) if as_json else _drawn(found, out)
        if (text != last or clear) and not write_all(1, (clear + text).encode("utf-8", "backslashreplace")):
            return EXIT_FAILED  # stdout was closed
        last = text
        if not watch:
            return EXIT_CLEAN
        time.sleep(WATCH_S)


def _drawn(found: Overview, out: Report) -> str:
    for running in found.runs:
        _draw(running, out)
    if not found.runs:
        out.line("No sidecar is running.")
    if found.dead:
        out.line()
        what = "1 run was" if found.dead == 1 else f"{found.dead} runs were"
        out.line((f"{what} killed before cleaning up. 'sidecar clean' or the next start cleans up.", WARN))
    if found.elsewhere:
        out.line()
        what = "1 more is" if found.elsewhere == 1 else f"{found.elsewhere} more are"
        out.line((f"{what} running in other pid namespaces (containers). Run 'sidecar ps' there.", DIM))
    if found.unrecorded:
        out.line()
        pids = ", ".join(str(it.pid) for it in found.unrecorded)
        out.line((f"Started by a sidecar without a record here (another state folder?): pid {pids}.", WARN))
    for problem in found.problems:
        out.line((problem, WARN))
    return out.take()


def _draw(running: Running, out: Report) -> None:
    app = running.app
    if app is not None:
        out.heading(f"{_short(app)} (pid {app.pid})")
    else:
        out.heading("an app that is not watched")
    owners = [_owner("supervisor", running.supervisor)]
    if running.guard is not None or running.guarantees.get("guard"):
        owners.append(_owner("guard", running.guard))
    since = running.supervisor or running.guard
    facts = [f"up {uptime(since.uptime_ms / 1000)}"] if since else []
    out.line((", ".join([*owners, *facts, size(running.memory_bytes)]), DIM))
    out.line((f"layers: {_layers(running.guarantees)}", DIM))
    head = ("service", "state", "pid", "url", "up", "processes", "memory")
    out.table(head, (_row(service) for service in running.services))
    if not running.services:
        out.line("no service was started")


def _row(service: RunningService) -> list[Cell | str]:
    program = service.program
    where: Cell | str = "-"
    if service.url is not None:
        where = (service.url, LINK)
    elif service.port is not None:
        where = (f"port {service.port}, not ready", DIM)
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
    """Name the active layers as ``initialize`` does."""
    names = [name for name, value in guarantees.items() if value is True]
    watched = guarantees.get("parentWatch", "none")
    return ", ".join(names if watched == "none" else [*names, f"parentWatch ({watched})"]) or "unknown"
