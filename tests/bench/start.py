"""The time from launch to the answer to ``initialize``: from source, beside a Python that only prints."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial

from tests.bench import contenders
from tests.bench.client import Sidecar, answer
from tests.bench.contenders import SIDECAR
from tests.bench.processes import BenchError, Pen
from tests.bench.report import Report, Row, ratios

BENCH = "start"
ANSWER_SECONDS = 30.0
PYTHON = "python -c print"
WHAT = "launch → answer to initialize"


def answered(pen: Pen, argv: Sequence[str] = ()) -> float:
    """Return the milliseconds from the launch of our sidecar (default: from source) to the answer."""
    sidecar = Sidecar.launch(pen, contenders.ours(pen.folder, {}, start_service=None, argv=argv))
    try:
        when, _ = sidecar.await_message(answer(1), time.perf_counter() + ANSWER_SECONDS)
        return (when - sidecar.launched) * 1e3
    finally:
        pen.let_go(sidecar.process)


def printed(pen: Pen, argv: Sequence[str]) -> float:
    """Return the milliseconds from launch to the first line of a program that only prints."""
    began = time.perf_counter()
    process = pen.spawn(argv, cwd=pen.folder, stdout=subprocess.PIPE)
    try:
        assert process.stdout is not None
        if not process.stdout.read(1):
            raise BenchError(f"{argv[0]} printed nothing")
        return (time.perf_counter() - began) * 1e3
    finally:
        pen.let_go(process)


def take(measures: Mapping[str, Callable[[], float]], rounds: int) -> dict[str, list[float]]:
    """Measure ``rounds`` rounds of all in turn, after one warm-up round."""
    taken: dict[str, list[float]] = {name: [] for name in measures}
    for turn in range(rounds + 1):
        for name in contenders.in_turn(measures, turn):
            value = measures[name]()
            if turn:
                taken[name].append(value)
    return taken


def run(report: Report, pen: Pen, rounds: int) -> None:
    """Measure ``rounds`` rounds of both."""
    hello = [sys.executable, "-c", "print('hello')"]
    taken = take({SIDECAR: partial(answered, pen), PYTHON: partial(printed, pen, hello)}, rounds)
    report.rows += [
        Row(BENCH, WHAT, SIDECAR, "ms", tuple(taken[SIDECAR]), "from source; the design's bar is for the frozen one"),
        Row(BENCH, WHAT, PYTHON, "ms", tuple(taken[PYTHON]), "to its first line"),
        Row(BENCH, f"sidecar / {PYTHON}", SIDECAR, "×", ratios(taken[SIDECAR], taken[PYTHON]), "round by round"),
    ]
