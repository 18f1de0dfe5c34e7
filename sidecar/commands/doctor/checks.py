"""Check that the project and the machine have what a service needs."""

from __future__ import annotations

import errno
import os
import re
import subprocess
import sys
from pathlib import Path

import msgspec

from sidecar import __version__
from sidecar.commands.doctor.finding import Finding, finding_of
from sidecar.commands.doctor.services import check_services, wants_node
from sidecar.config.services import DevServer, NodeServer, PortConfig, Service, ViteService
from sidecar.errors import ConfigurationError, NodeNotFoundError, ProjectNotFoundError, SidecarError
from sidecar.files import is_file, leads_out, read_json
from sidecar.host.frozen import HOME
from sidecar.host.orphans import Orphans, seen
from sidecar.host.survey import Survey
from sidecar.protocol.messages import Holder, taken_by
from sidecar.services import launch
from sidecar.services.choice import find_start, service_of
from sidecar.services.dev_script import Start
from sidecar.services.frameworks import Framework
from sidecar.services.looking import looking_at
from sidecar.services.managers import shim_of
from sidecar.services.node import Node
from sidecar.services.package_json import upwards
from sidecar.services.ports import EVERYWHERE, THE_SYSTEM, refusal
from sidecar.services.project import wanted_port
from sidecar.state import atomic, run_record

VERSION_S = 10.0
"""The bound for ``node --version``. It takes 30 ms, but a version manager's shim may look for an update first."""

OLDEST_NODE = ((20, 19), (22, 12))
"""Vite 7 and newer need 20.19 or a later 20, or 22.12 or later."""

SAID_MOST = 500
"""How many characters of node's output are shown."""


class _Package(msgspec.Struct):
    """The one field of a package.json that the report shows."""

    version: str | None = None


def check(survey: Survey, root: str, port: int | None) -> list[Finding]:
    """Check everything but the layers."""
    state = _state_folder()
    last = {} if state.verdict == "bad" else run_record.last_ports(launch.project_prefix(root))
    try:
        with looking_at(root):
            declared, services = check_services(root)
            project, config = _project(root)
            if services and project[0].verdict == "bad":
                project = []  # the declared services need no front end
            wish = launch.port_config(config)
            node = None
            if not services or wants_node(services):
                node = find_own_node(config if isinstance(config, NodeServer) else ViteService(root=root))
    except ConfigurationError as error:
        declared, project, wish = [], [finding_of(error, "project")], None
        node = None
    return [
        _ourselves(),
        *([_node(node)] if node is not None else []),
        *project,
        *declared,
        *_ports(survey, port or (wish and wish.preferred) or launch.VITE_PORT, last),
        state,
        _runs(survey),
    ]


def _ourselves() -> Finding:
    what = "one file" if getattr(sys, "frozen", False) else f"python {sys.version.split()[0]}"
    return Finding("sidecar", "ok", f"{__version__}, {sys.executable} ({what})")


def find_own_node(config: NodeServer) -> Node | NodeNotFoundError:
    """Find the node to ask for its version; return the error if there is none."""
    try:
        return launch.find_node("node", config)
    except NodeNotFoundError as error:
        return error


def _node(node: Node | NodeNotFoundError) -> Finding:
    if isinstance(node, NodeNotFoundError):
        return finding_of(node, "node")
    program = node.program
    try:
        # not in the project: a version manager's shim runs the version that its working folder asks for
        done = subprocess.run(
            [program, "--version"],
            cwd=HOME,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=VERSION_S,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired, UnicodeDecodeError) as error:
        return Finding("node", "bad", f"{program} cannot be run: {error}", "Install Node.js again.")
    told = re.match(r"v?(\d+)\.(\d+)\.", done.stdout)
    if told is None:
        said = (done.stderr or done.stdout)[:SAID_MOST].strip()
        if (manager := shim_of(program)) is not None:
            what = f"{program}: a shim of {manager}, which reports no version outside of the project: {said}"
            return Finding("node", "note", what, "Run node --version in the project to see which version it chooses.")
        return Finding(
            "node",
            "bad",
            f"{program} does not report its version (code {done.returncode}): {said}",
            "Install Node.js again.",
        )
    found = f"{done.stdout.strip()[:SAID_MOST]}, {program}: {node.why}"
    if (manager := shim_of(program)) is not None:
        found += f"; a shim of {manager}, which may choose another version in the project"
    version = int(told[1]), int(told[2])
    if not node.is_bun and _is_old(version):
        advice = "Vite 7 and newer need Node.js 20.19 or 22.12, or newer. Install one of these if Vite does not start."
        return Finding("node", "note", found, advice)
    if node.problem:
        return Finding("node", "note", f"{found}; {node.problem}", "Install that version, or correct that file.")
    return Finding("node", "ok", found)


def _is_old(version: tuple[int, int]) -> bool:
    return version < OLDEST_NODE[0] or (version[0] > OLDEST_NODE[0][0] and version < OLDEST_NODE[1])


def _project(root: str) -> tuple[list[Finding], Service]:
    """Report what the project is and how it starts. Return also the service that ``sidecar dev`` would start."""
    folder = Path(root).absolute()
    try:
        start = find_start(root)
    except ConfigurationError as error:
        return [finding_of(error, "project")], ViteService(root=root)
    config = service_of(start, root, PortConfig(), {})
    row = start.framework
    project = Finding("project", "ok", f"{folder}: {row.described()}")
    subject = row.type if isinstance(config, DevServer) else row.name
    if (package := _elsewhere(root, row)) is not None:
        what = f"{package} is not checked: a link there leads out of the project"
        return [project, Finding(subject, "note", what, "'sidecar dev' follows it, as node does.")], config
    try:
        planned = launch.plan("project", config)
    except ProjectNotFoundError as error:
        return [finding_of(error, "project")], config
    except NodeNotFoundError as error:
        # report a missing yarn here; a missing node has a line of its own
        no_yarn = error.data.get("program") == "yarn"
        return [project, finding_of(error, subject) if no_yarn else _program(root, row)], config
    except SidecarError as error:
        return [project, finding_of(error, subject)], config
    program = [_program(root, row)] if isinstance(config, DevServer) else []
    steps = [Finding("step", "ok", each.argv[-1]) for each in planned.before]
    command = Finding("command", "ok", _command(row, launch.find_program(root, row), planned.argv))
    return [project, *program, *steps, command, *_passed_over(root, start)], config


def _elsewhere(root: str, row: Framework) -> str | None:
    """Return the framework's package if a link there leads out of the project."""
    for folder in upwards(os.path.abspath(root)) if row.package else ():
        package = os.path.join(folder, "node_modules", *row.package.split("/"))
        manifest = os.path.join(package, "package.json")
        if leads_out(manifest):
            return package
        if is_file(manifest):
            return None
    return None


def _command(row: Framework, entry: str | None, argv: tuple[str, ...]) -> str:
    """Write the command as a person would type it."""
    words = (row.program, *argv[argv.index(entry) + 1 :]) if entry in argv else argv
    return " ".join(words)


def _program(root: str, row: Framework) -> Finding:
    """Report the version and the entry file of the framework's package."""
    entry = launch.find_program(root, row)
    if entry is None:
        how = "by yarn (Plug'n'Play)" if row.package else "from PATH" if row.program else row.title
        return Finding(row.type, "ok", how)
    for folder in Path(entry).parents:
        package = read_json(str(folder / "package.json"), _Package)
        if package is None or package.version is None:
            continue  # this manifest may only set the kind of modules below it; the package's own is further up
        return Finding(row.type, "ok", f"{package.version}, {entry}")
    return Finding(row.type, "ok", entry)


def _passed_over(root: str, start: Start) -> list[Finding]:
    if not wanted_port(root, start, start.framework).passed_over:
        return []
    what = "server.port of the vite.config is ignored: it is not a plain number"
    return [Finding("port", "note", what, "Set the port with --port, or in the service's port.preferred.")]


def _ports(survey: Survey, preferred: int, last: dict[str, int]) -> list[Finding]:
    """Check the ports. ``last`` maps each service of the project to its remembered port."""
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
        holder = Holder(command=THE_SYSTEM)
    if holder is None:
        return Finding(subject, "note", f"not usable: {error.strerror} ({what})", "A service takes another port.")
    found = taken_by(holder)
    return Finding(subject, "note", f"{found} ({what})", _advice_on(holder))


def _advice_on(holder: Holder) -> str:
    if holder.ours:
        return "'sidecar ps' shows which app it belongs to. A service takes another port."
    if holder.command == THE_SYSTEM:
        return "A service takes another port."
    return "A service takes another port. To use this one, end that program."


def _state_folder() -> Finding:
    wish = f"Make it writable for this user, or set {run_record.STATE_DIR} to another folder."
    try:
        folder = run_record.state_folder("runs")
        trial = os.path.join(folder, f"doctor.{os.getpid()}.tmp")  # the next start removes such files if we are killed
        atomic.write_atomically(trial, b"")
        os.unlink(trial)
    except OSError as error:
        return Finding("state folder", "bad", f"not usable: {error}", wish)
    return Finding("state folder", "ok", os.path.dirname(folder))


def _runs(survey: Survey) -> Finding:
    living = survey.overview()
    left = seen(survey.find())
    count = len(living.runs)
    found = f"{count} sidecar{'s' * (count != 1)} running"
    if left == Orphans():
        return Finding("runs", "ok", f"{found}, nothing left of dead ones")
    processes = len(left.processes())
    things = len(left.groups) + len(left.runs) + len(left.unreadable) + len(left.drafts) + len(left.folders)
    things += sum(len(run.unpacked) for run in left.runs)
    return Finding(
        "runs",
        "note",
        f"{found}; dead ones left {processes} processes and {things} files or groups",
        "'sidecar clean' shows them and cleans up. The next start cleans up, too.",
    )
