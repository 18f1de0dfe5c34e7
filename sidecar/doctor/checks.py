"""What the project and the machine have of what a service needs."""

from __future__ import annotations

import errno
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Literal

import msgspec

from sidecar import __version__, launch
from sidecar.config import DevServer, NodeServer, PortConfig, Service, ViteService
from sidecar.errors import ConfigurationError, NodeNotFoundError, ProjectNotFoundError, SidecarError
from sidecar.host import drafts, records
from sidecar.host.leftovers import Leftovers
from sidecar.host.ports import EVERYWHERE, NOBODY, refusal
from sidecar.host.survey import Survey
from sidecar.services.choice import find_start, service_of
from sidecar.services.files import FILE_BYTES_MOST, read_head
from sidecar.services.frameworks import Framework
from sidecar.services.project import Start, wanted_port
from sidecar.wire.messages import Holder, Wire, taken_by

VERSION_S = 10.0
"""``node --version`` takes 30 ms; a version manager's shim may look for an update first."""

OLDEST_NODE = ((20, 19), (22, 12))
"""What Vite 7 and newer want: 20.19 and later 20s, or 22.12 and later."""

Verdict = Literal["ok", "note", "bad"]


class Finding(Wire, frozen=True, omit_defaults=False):
    """One line of the report. ``note`` is worth a look and stops nothing; ``bad`` keeps a service from running."""

    subject: str
    verdict: Verdict
    found: str
    advice: str = ""


class _Package(msgspec.Struct):
    """The one field of a package.json that is shown."""

    version: str | None = None


def check(survey: Survey, root: str, port: int | None) -> list[Finding]:
    """Everything but the layers."""
    state = _state_folder()
    last = {} if state.verdict == "bad" else records.last_ports(launch.project_prefix(root))
    project, config = _project(root)
    wish = launch.port_config(config)
    return [
        _ourselves(),
        _node(config if isinstance(config, NodeServer) else ViteService(root=root)),
        *project,
        *_ports(survey, port or (wish and wish.preferred) or launch.VITE_PORT, last),
        state,
        _runs(survey),
    ]


def _ourselves() -> Finding:
    what = "one file" if getattr(sys, "frozen", False) else f"python {sys.version.split()[0]}"
    return Finding("sidecar", "ok", f"{__version__}, {sys.executable} ({what})")


def _node(config: NodeServer) -> Finding:
    try:
        node = launch.find_node("node", config)
    except NodeNotFoundError as error:
        return _lacking("node", error)
    program = node.program
    try:
        done = subprocess.run([program, "--version"], capture_output=True, text=True, timeout=VERSION_S, check=False)
    except (OSError, subprocess.TimeoutExpired, UnicodeDecodeError) as error:
        return Finding("node", "bad", f"{program} cannot be run: {error}", "Install Node.js anew.")
    told = re.match(r"v?(\d+)\.(\d+)\.", done.stdout)
    if told is None:
        said = (done.stderr or done.stdout).strip()
        return Finding(
            "node",
            "bad",
            f"{program} does not tell its version (code {done.returncode}): {said}",
            "Install Node.js anew.",
        )
    found = f"{done.stdout.strip()}, {program}: {node.why}"
    version = int(told[1]), int(told[2])
    if not node.is_bun and _is_old(version):
        advice = "Vite 7 and newer want 20.19 or newer, or 22.12 or newer: install one of these if Vite does not start."
        return Finding("node", "note", found, advice)
    if node.problem:
        return Finding("node", "note", f"{found}; {node.problem}", "Install that version, or correct that file.")
    return Finding("node", "ok", found)


def _is_old(version: tuple[int, int]) -> bool:
    return version < OLDEST_NODE[0] or (version[0] > OLDEST_NODE[0][0] and version < OLDEST_NODE[1])


def _project(root: str) -> tuple[list[Finding], Service]:
    """What the project is, and how it is started; and the service that ``sidecar dev`` makes of it."""
    folder = Path(root).absolute()
    try:
        start = find_start(root)
    except ConfigurationError as error:
        found, _, advice = error.message.partition(". ")
        return [Finding("project", "bad", found, advice)], ViteService(root=root)
    config = service_of(start, root, PortConfig(), {})
    row = start.framework
    project = Finding("project", "ok", f"{folder}: {row.described()}")
    subject = row.type if isinstance(config, DevServer) else row.name
    try:
        planned = launch.plan("project", config)
    except ProjectNotFoundError as error:
        return [_lacking("project", error)], config
    except NodeNotFoundError as error:
        # said already; or a yarn is missing
        return [project, *([_lacking(subject, error)] if "yarn" in error.message else [_program(root, row)])], config
    except SidecarError as error:
        return [project, _lacking(subject, error)], config
    program = [_program(root, row)] if isinstance(config, DevServer) else []
    steps = [Finding("step", "ok", each.argv[-1]) for each in planned.before]
    command = Finding("command", "ok", _command(row, launch.find_program(root, row), planned.argv))
    return [project, *program, *steps, command, *_passed_over(root, start)], config


def _command(row: Framework, entry: str | None, argv: tuple[str, ...]) -> str:
    """As a person would type it."""
    words = (row.program, *argv[argv.index(entry) + 1 :]) if entry in argv else argv
    return " ".join(words)


def _program(root: str, row: Framework) -> Finding:
    """The framework's package."""
    entry = launch.find_program(root, row)
    if entry is None:
        how = "by yarn (Plug'n'Play)" if row.package else "from PATH" if row.program else row.title
        return Finding(row.type, "ok", how)
    for folder in Path(entry).parents:
        try:
            package = msgspec.json.decode(read_head(str(folder / "package.json"), FILE_BYTES_MOST), type=_Package)
        except (msgspec.DecodeError, UnicodeDecodeError):
            continue  # not here: the entry lies deeper in the package
        if package.version is None:
            continue  # one that only says what kind of modules are below it
        return Finding(row.type, "ok", f"{package.version}, {entry}")
    return Finding(row.type, "ok", entry)


def _passed_over(root: str, start: Start) -> list[Finding]:
    if not wanted_port(root, start, start.framework).passed_over:
        return []
    what = "server.port of the vite.config is no plain number: it is passed over"
    return [Finding("port", "note", what, "Name it by --port, or in the service's port.preferred.")]


def _ports(survey: Survey, preferred: int, last: dict[str, int]) -> list[Finding]:
    """``last`` has the remembered port of each of the project's services, by its name."""
    what = {preferred: "the port that is tried first"}
    for service, port in sorted(last.items()):
        if port != preferred:
            what[port] = f"{what[port]} and {service}" if port in what else f"the last good port of {service}"
    return [_port(survey, port, text) for port, text in what.items()]


def _port(survey: Survey, port: int, what: str) -> Finding:
    subject = f"port {port}"
    error = refusal(port, EVERYWHERE)
    if error is None:
        return Finding(subject, "ok", f"free ({what})")
    holder = survey.holder_of(port)
    if holder is None and error.errno == errno.EACCES:
        holder = Holder(command=NOBODY)
    if holder is None:
        return Finding(subject, "note", f"cannot be had: {error.strerror} ({what})", "A service takes another one.")
    found = taken_by(holder)
    return Finding(subject, "note", f"{found} ({what})", _advice_on(holder))


def _advice_on(holder: Holder) -> str:
    if holder.ours:
        return "'sidecar ps' shows whose it is. A service takes another port."
    return "A service takes another port; end that program, or name another one, if you want this one."


def _state_folder() -> Finding:
    wish = f"Make it writable for this user, or name another one in {records.STATE_DIR}."
    try:
        folder = records.state_folder("runs")
        trial = os.path.join(folder, f"doctor.{os.getpid()}.tmp")  # as the next start removes it, if we are killed
        drafts.write_atomically(trial, b"")
        os.unlink(trial)
    except OSError as error:
        return Finding("state folder", "bad", f"cannot be used: {error}", wish)
    return Finding("state folder", "ok", os.path.dirname(folder))


def _runs(survey: Survey) -> Finding:
    living = survey.overview()
    left = survey.find()
    count = len(living.runs)
    found = f"{count} sidecar{'s' * (count != 1)} running"
    if left == Leftovers():
        return Finding("runs", "ok", f"{found}, nothing left of dead ones")
    processes = len(left.processes())
    things = len(left.groups) + len(left.runs) + len(left.unreadable) + len(left.drafts) + len(left.folders)
    return Finding(
        "runs",
        "note",
        f"{found}; dead ones have left {processes} processes and {things} files or groups",
        "'sidecar clean' shows and ends them; the next start does, too.",
    )


def _lacking(subject: str, error: SidecarError) -> Finding:
    """What is missing, and what to do, from an error's message: its last sentence is the advice."""
    message = error.message.partition(": ")[2] or error.message
    found, _, advice = message.rstrip(".").rpartition(". ")
    return Finding(subject, "bad", found or message, f"{advice}." if found else "")
