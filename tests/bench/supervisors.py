"""Supervisors of programs, each in its own terminal: start, memory, and survivors.

Each runs one program with a child, a grandchild, and a daemon in its own session (trees.py). SIGKILL goes to the
terminal, as if its window had crashed, or to the supervisor, which is the program's parent.
"""

from __future__ import annotations

import json
import os
import shlex
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import psutil

from tests.bench import contenders
from tests.bench.client import tail
from tests.bench.contenders import CONCURRENTLY, MPROCS, PITCHFORK, PM2, PROCESS_COMPOSE, REPOSITORY, Tools
from tests.bench.death import LIFE_SECONDS, SURVIVE_SECONDS
from tests.bench.processes import LOOK_SECONDS, BenchError, Pen, kill_pidfd, marked, open_pidfd
from tests.bench.report import Goal, Report, Row
from tests.bench.rollcall import RollCall, peer_pid
from tests.bench.usage import pss_bytes

BENCH = "supervisors"
DEV = "sidecar dev"
GROW_SECONDS = 30.0
TREE, SIZE = "daemon", 4
"""The program's tree, and its number of processes."""
TERMINAL, SUPERVISOR = VICTIMS = ("terminal", "supervisor")
SHELLS = {"sh", "dash", "bash"}
"""Shells. A supervisor may start its program through one, which is then the program's parent."""


@dataclass
class Seen:
    """The results of one supervisor, one value a round."""

    start_ms: list[float] = field(default_factory=list)
    """Time from launch until the program runs."""
    memory_mb: list[float] = field(default_factory=list)
    """PSS of its own processes while the tree runs."""
    survivors: dict[str, list[float]] = field(default_factory=lambda: {whom: [] for whom in VICTIMS})
    """Survivors of the tree, by what was killed."""


Write = Callable[[Path, Sequence[str], Mapping[str, str]], list[str]]
"""Writes a supervisor's configuration for a program and its variables into a folder; returns the arguments."""


def _sidecar(folder: Path, program: Sequence[str], env: Mapping[str, str]) -> list[str]:
    del folder, env
    return ["-m", "sidecar", "dev", "--", *program]


def _pm2(folder: Path, program: Sequence[str], env: Mapping[str, str]) -> list[str]:
    app = {"name": "child", "script": program[0], "args": list(program[1:]), "interpreter": "none", "env": dict(env)}
    file = folder / "ecosystem.config.js"
    file.write_text(f"module.exports = {{ apps: [{json.dumps(app)}] }};\n", encoding="utf-8")
    return ["start", str(file)]


def _mprocs(folder: Path, program: Sequence[str], env: Mapping[str, str]) -> list[str]:
    file = folder / "mprocs.yaml"
    file.write_text(json.dumps({"procs": {"child": {"cmd": list(program), "env": dict(env)}}}), encoding="utf-8")
    return ["--config", str(file)]


def _pitchfork(folder: Path, program: Sequence[str], env: Mapping[str, str]) -> list[str]:
    shutil.rmtree(_pitchfork_state(folder), ignore_errors=True)  # else it looks for the last round's program
    lines = ["[daemons.child]", *_toml({"run": shlex.join(program)}), "[daemons.child.env]", *_toml(env)]
    (folder / "pitchfork.toml").write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    return ["start", "child"]


def _pitchfork_state(folder: Path) -> Path:
    return folder / "pitchfork"


def _toml(table: Mapping[str, str]) -> list[str]:
    """Return the lines of a TOML table. A JSON string is a TOML string too."""
    return [f"{key} = {json.dumps(value)}" for key, value in table.items()]


def _process_compose(folder: Path, program: Sequence[str], env: Mapping[str, str]) -> list[str]:
    child = {"command": shlex.join(program), "environment": [f"{name}={value}" for name, value in env.items()]}
    file = folder / "process-compose.yaml"
    file.write_text(json.dumps({"processes": {"child": child}}), encoding="utf-8")
    return ["up", "--config", str(file)]


def _concurrently(folder: Path, program: Sequence[str], env: Mapping[str, str]) -> list[str]:
    del folder, env
    return [shlex.join(program)]


WRITE: Mapping[str, Write] = {
    DEV: _sidecar,
    PM2: _pm2,
    MPROCS: _mprocs,
    PITCHFORK: _pitchfork,
    PROCESS_COMPOSE: _process_compose,
    CONCURRENTLY: _concurrently,
}
DETACHED = {PM2, PITCHFORK}
"""Supervisors that run in the background. The command in the terminal ends once they have started the program."""


def run(report: Report, pen: Pen, tools: Tools, rounds: int) -> None:
    """Measure ``rounds`` rounds, each supervisor twice a round, after one warm-up round."""
    programs = {DEV: sys.executable, **tools.programs}
    names = [name for name in WRITE if name in programs]
    taken = {name: Seen() for name in names}
    for turn in range(rounds + 1):
        for name in contenders.in_turn(names, turn):
            for whom in VICTIMS:
                _once(pen, name, programs[name], whom, taken[name] if turn else Seen())
    for name, seen in taken.items():
        report.rows.append(Row(BENCH, "launch → its program runs", name, "ms", tuple(seen.start_ms)))
    for name, seen in taken.items():
        report.rows.append(Row(BENCH, "PSS of its processes", name, "MB", tuple(seen.memory_mb)))
    for whom in VICTIMS:
        what = f"{whom} killed: of {SIZE} processes alive"
        for name, seen in taken.items():
            goals = (Goal(0),) if name == DEV else ()
            note = f"after {SURVIVE_SECONDS:g} s"
            report.rows.append(Row(BENCH, what, name, "", tuple(seen.survivors[whom]), note, goals, worst=True))


def _once(pen: Pen, name: str, program: str, whom: str, seen: Seen) -> None:
    """Start it in a terminal, measure, kill ``whom``, and count the survivors."""
    folder = pen.folder / "supervisor"
    folder.mkdir(exist_ok=True)
    errors = folder / "terminal.stderr"
    with RollCall() as roll, errors.open("wb") as sink:
        env = {"BENCH_SOCKET": roll.name, "BENCH_DEADLINE": str(time.monotonic() + LIFE_SECONDS)}
        tree = contenders.script("trees.py", TREE)
        argv = [program, *WRITE[name](folder, tree, env)]
        order = json.dumps({"argv": argv, "cwd": str(folder), "seconds": LIFE_SECONDS})
        terminal = pen.spawn(
            contenders.script("terminal.py", order),
            cwd=folder,
            stdout=subprocess.PIPE,
            stderr=sink,
            env={**env, **_own_folders(folder)},
        )
        try:
            assert terminal.stdout is not None
            launched = float(terminal.stdout.readline() or "nan")
            _await(roll, 1, errors)
            seen.start_ms.append((time.perf_counter() - launched) * 1e3)
            assert roll.first is not None
            roll.first.send(b"g")
            _await(roll, SIZE, errors)
            if name in DETACHED:
                _await_command(terminal.pid)
            tree_pids = roll.pids()
            stand_ins = {terminal.pid, *(it.pid for it in psutil.Process(terminal.pid).children())}
            own = [pid for pid in marked(pen.mark) if pid not in tree_pids | stand_ins]
            seen.memory_mb.append(sum(map(_pss, own)) / 1e6)
            if whom == TERMINAL:
                terminal.kill()
            else:
                _kill(_supervisor_of(peer_pid(roll.first)))
            killed = time.perf_counter()
            while roll.live and time.perf_counter() - killed < SURVIVE_SECONDS:
                roll.turn(killed + SURVIVE_SECONDS - time.perf_counter())
            seen.survivors[whom].append(roll.live)
        finally:
            terminal.kill()
            pen.empty(terminal)


def _own_folders(folder: Path) -> dict[str, str]:
    """Return variables that keep the supervisors' files out of the user's folders, and turn off update checks."""
    state = str(folder / "state")
    return {
        "PYTHONPATH": str(REPOSITORY),
        "XDG_STATE_HOME": state,
        "XDG_RUNTIME_DIR": state,
        "PM2_HOME": str(folder / "pm2"),
        "PM2_DISABLE_VERSION_CHECK": "true",
        "PITCHFORK_STATE_DIR": str(_pitchfork_state(folder)),
        "PITCHFORK_CONFIG_DIR": str(folder / "config"),
        "PROC_COMP_CONFIG": str(folder / "config"),
        "PC_LOG_FILE": str(folder / "process-compose.log"),
        "PC_SOCKET_PATH": str(folder / "process-compose.sock"),  # in place of the port 8080
        **contenders.OFFLINE,
        "TERM": "xterm-256color",
    }


def _await(roll: RollCall, size: int, errors: Path) -> None:
    deadline = time.perf_counter() + GROW_SECONDS
    while roll.live < size:
        if time.perf_counter() > deadline:
            raise BenchError(f"only {roll.live} of {size} processes came within {GROW_SECONDS:g} s: {tail(errors)}")
        roll.turn(0.1)


def _await_command(terminal: int) -> None:
    """Wait until the command that the shell of ``terminal`` runs has ended."""
    deadline = time.perf_counter() + GROW_SECONDS
    while any(shell.children() for shell in psutil.Process(terminal).children()):
        if time.perf_counter() > deadline:
            raise BenchError(f"the command in the terminal did not end within {GROW_SECONDS:g} s")
        time.sleep(LOOK_SECONDS)


def _pss(pid: int) -> int:
    try:
        return pss_bytes(pid)
    except OSError:  # it has ended: it only started the supervisor
        return 0


def _supervisor_of(root: int) -> int:
    """Return the nearest ancestor of the tree that is not a shell."""
    above = psutil.Process(root).parent()
    while above is not None and above.name() in SHELLS:
        above = above.parent()
    if above is None or above.pid == os.getpid():
        raise BenchError("the tree has no supervisor above it")
    return above.pid


def _kill(pid: int) -> None:
    pidfd = open_pidfd(pid)
    if pidfd is None:
        raise BenchError("the supervisor has ended by itself")
    kill_pidfd(pidfd)
    os.close(pidfd)
