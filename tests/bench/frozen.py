"""A new binary, as an app ships it: start, size and memory, beside a minimal PyInstaller one-file program."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from tests.bench import contenders, start
from tests.bench.client import Sidecar, answer
from tests.bench.contenders import HOST, REPOSITORY, SIDECAR
from tests.bench.idle import READY_SECONDS, our_processes
from tests.bench.launch import free_port
from tests.bench.processes import BenchError, Pen
from tests.bench.report import Goal, Report, Row, ratios
from tests.bench.usage import pss_bytes

BENCH = "frozen"
FOLDER = "sidecar, one folder"
HELLO = "one-file print('hello')"
START = (Goal(1.2), Goal(1.0, better=True))
SIZE = (Goal(8), Goal(6, better=True))
MEMORY = (Goal(20), Goal(15, better=True))


def freeze(out: Path, *options: str) -> Path:
    """Make our binary or folder in ``out``, by build/freeze.py with these options."""
    _make([str(REPOSITORY / "build" / "freeze.py"), "--out", str(out), *options], REPOSITORY)
    [made] = out.iterdir()
    return made / "sidecar" if made.is_dir() else made


def freeze_hello(out: Path) -> Path:
    """Make the shortest program with PyInstaller's defaults."""
    out.mkdir()
    program = out / "hello.py"
    program.write_text("print('hello')\n", encoding="utf-8")
    _make(["-m", "PyInstaller", "--onefile", "--log-level=WARN", str(program)], out, str(out / "cache"))
    return out / "dist" / "hello"


def size_mb(path: Path) -> float:
    """Return a file's size in MB."""
    return path.stat().st_size / 1e6


def run(report: Report, pen: Pen, project: Path, rounds: int) -> None:
    """Make the binaries, measure ``rounds`` rounds of their starts, and once the memory with Vite ready."""
    binary = freeze(pen.folder / "file")
    one_folder = freeze(pen.folder / "folder", "--folder")
    hello = freeze_hello(pen.folder / "hello")
    measures = {
        SIDECAR: partial(start.answered, pen, [str(binary)]),
        FOLDER: partial(start.answered, pen, [str(one_folder)]),
        HELLO: partial(start.printed, pen, [str(hello)]),
    }
    taken = start.take(measures, rounds)
    memory, note = _memory(pen, project, [str(binary)])
    ratio = ratios(taken[SIDECAR], taken[HELLO])
    report.rows += [
        Row(BENCH, start.WHAT, SIDECAR, "ms", tuple(taken[SIDECAR])),
        Row(BENCH, start.WHAT, FOLDER, "ms", tuple(taken[FOLDER]), "nothing to unpack"),
        Row(BENCH, start.WHAT, HELLO, "ms", tuple(taken[HELLO]), "to its first line"),
        Row(BENCH, f"sidecar / {HELLO}", SIDECAR, "×", ratio, "round by round", START),
        Row(BENCH, "size", SIDECAR, "MB", (size_mb(binary),), goals=SIZE),
        Row(BENCH, "size", HELLO, "MB", (size_mb(hello),)),
        Row(BENCH, "PSS of our processes", SIDECAR, "MB", (memory,), note, MEMORY),
    ]


def _memory(pen: Pen, project: Path, argv: Sequence[str]) -> tuple[float, str]:
    """Return the PSS in MB of all our processes while Vite is ready, and each one's share."""
    service = {"type": "vite", "root": str(project), "port": {"preferred": free_port(), "host": HOST}}
    how = contenders.ours(pen.folder, {"web": service}, start_service="web", argv=argv)
    sidecar = Sidecar.launch(pen, how)
    try:
        deadline = time.perf_counter() + READY_SECONDS
        hello = sidecar.await_message(answer(1), deadline)[1]
        sidecar.await_message(answer(2), deadline)
        each = [pss_bytes(pid) / 1e6 for pid in our_processes(sidecar.process.pid, hello["result"]["pid"])]
    finally:
        pen.let_go(sidecar.process)
    return sum(each), "bootloader + guard + keeper + supervisor: " + " + ".join(f"{value:.1f}" for value in each)


def _make(words: Sequence[str], folder: Path, cache: str = "") -> None:
    env = {**os.environ, "PYINSTALLER_CONFIG_DIR": cache}  # ours has its own
    done = subprocess.run([sys.executable, *words], cwd=folder, env=env, capture_output=True, text=True, check=False)
    if done.returncode:
        raise BenchError(f"a binary could not be made: {(done.stdout + done.stderr)[-600:]}")
