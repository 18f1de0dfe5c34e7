"""The measured contenders, and their command lines."""

from __future__ import annotations

import json
import os
import platform
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from tests.bench.processes import BenchError

HERE = Path(__file__).resolve().parent
REPOSITORY = HERE.parents[1]
PEERS = HERE / "peers"
EXAMPLE = REPOSITORY / "tauri-integration" / "examples" / "vite-app"
HOST = "127.0.0.1"
SIDECAR = "sidecar"
NPM = "npm run"
NODE = "node vite.js"
CONCURRENTLY = "concurrently"
BUN = "bun --no-orphans"
SETPRIV = "setpriv --pdeathsig"
UNSHARE = "unshare --kill-child"
PM2 = "pm2"
MPROCS = "mprocs"
PITCHFORK = "pitchfork"
PROCESS_COMPOSE = "process-compose"
KILLPG = "killpg"
"""No supervisor: the bench itself sends SIGKILL to the tree's process group. No supervisor can be quicker."""

OFFLINE = {"HTTPS_PROXY": "http://127.0.0.1:9"}
"""A proxy that does not exist. process-compose looks for updates at each start, and no option turns that off."""

UTIL_LINUX = {SETPRIV: "setpriv", UNSHARE: "unshare", KILLPG: "setsid"}


@dataclass(frozen=True)
class Tools:
    """Node, the programs of the peers that run here, and why the others do not."""

    node: str
    programs: Mapping[str, str]
    skipped: Mapping[str, str]


def sidecar_argv() -> list[str]:
    """Return the command of our sidecar, from source, with the bench's Python."""
    return [sys.executable, "-m", "sidecar", "stdio"]


def script(name: str, *arguments: str) -> list[str]:
    """Return the command of a script of this folder, with the bench's Python, without site for a faster start."""
    return [sys.executable, "-I", "-S", str(HERE / name), *arguments]


def initialize(services: Mapping[str, object]) -> str:
    """Return the first request, as a line without its line feed."""
    params = {"protocolVersion": 1, "client": {"name": "bench", "version": "1"}, "services": services}
    return json.dumps({"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": params})


def start(service: str) -> str:
    """Return the request that starts ``service``, as a line without its line feed."""
    return json.dumps({"jsonrpc": "2.0", "id": 2, "method": "start", "params": {"service": service}})


def version_argv(name: str, program: Path | str) -> list[str]:
    """Return the command that prints a program's version. pitchfork and process-compose must not write a log for it."""
    quiet = {**OFFLINE, "PC_LOG_FILE": os.devnull, "PITCHFORK_LOGS_DIR": os.devnull}
    ask = ["version", "--short"] if name == PROCESS_COMPOSE else ["--version"]
    return ["env", *(f"{key}={value}" for key, value in quiet.items()), str(program), *ask]


def _fault(name: str, program: Path) -> str | None:
    """Return why the program does not work here, or None if it does."""
    if name == PM2:  # even --version starts its daemon, which stays
        return None if program.exists() else "it is missing"
    argv: Sequence[Path | str] = version_argv(name, program)
    if name == UNSHARE:  # if it may
        argv = [program, "--user", "--map-root-user", "--pid", "--fork", "true"]
    try:
        done = subprocess.run(argv, capture_output=True, text=True, timeout=30, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        return str(error)
    return None if done.returncode == 0 else f"exit {done.returncode}: {done.stderr.strip()[-200:]}"


def _on_path(program: str) -> list[Path]:
    found = shutil.which(program)
    return [] if found is None else [Path(found)]


def find_tools() -> Tools:
    """Find what runs here. Only node is needed; ``python3 build/dev.py bench`` installs the rest where it can."""
    node, npm = shutil.which("node"), shutil.which("npm")
    if node is None:
        raise BenchError("node is missing on PATH: run `python3 build/dev.py bench`, which installs it")
    bins = PEERS / "node_modules" / ".bin"
    candidates: dict[str, Sequence[Path]] = {
        NPM: [Path(npm)] if npm else [],
        CONCURRENTLY: [bins / "concurrently"],
        **{name: _on_path(program) for name, program in UTIL_LINUX.items()},
        # bun's install script moves the binary into place; where such scripts may not run it stays in its own package.
        BUN: [bins / "bun", *sorted(PEERS.glob("node_modules/@oven/bun-*/bin/bun"))],
        PM2: [bins / "pm2"],
        # without the script for node in front of it
        MPROCS: sorted(PEERS.glob(f"node_modules/mprocs/mprocs-*-linux-{platform.machine()}-*/mprocs")),
        PITCHFORK: _on_path("pitchfork"),
        PROCESS_COMPOSE: _on_path("process-compose"),
    }
    programs: dict[str, str] = {}
    skipped: dict[str, str] = {}
    for name, paths in candidates.items():
        faults = {path: _fault(name, path) for path in paths}
        working = [path for path, fault in faults.items() if fault is None]
        if working:
            programs[name] = str(working[0])
        else:
            skipped[name] = "; ".join(f"{path}: {fault}" for path, fault in faults.items()) or "not on PATH"
    return Tools(node, programs, skipped)


@dataclass(frozen=True)
class Launch:
    """A contender's command line, working folder and stdin."""

    argv: Sequence[str]
    cwd: Path
    send: Sequence[str] = ()
    env: Mapping[str, str] = field(default_factory=dict)


def in_turn(names: Iterable[str], turn: int) -> list[str]:
    """Rotate the contenders' order by ``turn``, so that none always runs after the same other one."""
    found = list(names)
    shift = turn % len(found)
    return found[shift:] + found[:shift]


def _own_state(folder: Path) -> dict[str, str]:
    """Return variables that keep the sidecar's records out of the user's folders.

    Not ``SIDECAR_STATE_DIR``: with that it starts a few milliseconds sooner than it does for a user, who has none.
    """
    return {"XDG_STATE_HOME": str(folder / "state")}


def ours(
    folder: Path, services: Mapping[str, object], *, start_service: str | None, argv: Sequence[str] = ()
) -> Launch:
    """Return our sidecar with ``services``. Both requests are written at once, as an app that does not wait would do.

    ``argv`` replaces the sidecar from source.
    """
    send = [initialize(services)] + ([start(start_service)] if start_service else [])
    return Launch(argv or sidecar_argv(), REPOSITORY, send, _own_state(folder))


def vite(tools: Tools, folder: Path, project: Path, port: int) -> dict[str, Launch]:
    """Return the contenders for "launch → ready" on ``port``."""
    flags = ["--host", HOST, "--port", str(port), "--strictPort"]
    service = {"type": "vite", "root": str(project), "port": {"preferred": port, "host": HOST, "sticky": False}}
    found = {SIDECAR: ours(folder, {"web": service}, start_service="web")}
    if NPM in tools.programs:
        # npm must not check for updates of itself during the measurement
        quiet = {"npm_config_update_notifier": "false"}
        found[NPM] = Launch([tools.programs[NPM], "run", "dev", "--", *flags], project, env=quiet)
    found[NODE] = Launch([tools.node, str(Path("node_modules", "vite", "bin", "vite.js")), *flags], project)
    return found


def wrap(tools: Tools, folder: Path, command: Sequence[str]) -> dict[str, Launch]:
    """Return the contenders that run ``command`` as a child: ours, and the available peers.

    ``folder`` becomes an npm project whose script ``child`` is the command.
    """
    line = shlex.join(command)
    (folder / "package.json").write_text(json.dumps({"name": "child", "scripts": {"child": line}}), encoding="utf-8")
    service = {"type": "command", "command": list(command), "cwd": str(folder), "restart": {"policy": "never"}}
    found = {SIDECAR: ours(folder, {"child": service}, start_service="child")}
    commands: dict[str, Sequence[str]] = {
        NPM: ["run", "child"],
        CONCURRENTLY: [line],
        BUN: ["run", "--no-orphans", "child"],
        SETPRIV: ["--pdeathsig", "KILL", *command],
        UNSHARE: ["--user", "--map-root-user", "--pid", "--fork", "--kill-child", *command],
        KILLPG: [*command],
    }
    for name, arguments in commands.items():
        if name in tools.programs:
            found[name] = Launch([tools.programs[name], *arguments], folder)
    return found
