"""Start → the answer to ``initialize``, from source, beside a Python that only prints."""

from __future__ import annotations

import subprocess
import sys
import time

from tests.bench import contenders
from tests.bench.client import Sidecar, answer
from tests.bench.contenders import SIDECAR
from tests.bench.processes import BenchError, Pen
from tests.bench.report import Report, Row, ratios

BENCH = "start"
ANSWER_SECONDS = 30.0
PYTHON = "python -c print"


def _ours(pen: Pen) -> float:
    """Milliseconds from launch to the answer."""
    sidecar = Sidecar.launch(pen, contenders.ours(pen.folder, {}, start_service=None))
    try:
        answered, _ = sidecar.await_message(answer(1), time.perf_counter() + ANSWER_SECONDS)
        return (answered - sidecar.launched) * 1e3
    finally:
        pen.let_go(sidecar.process)


def _python(pen: Pen) -> float:
    """Milliseconds from launch to the first line of a program that has nothing else to do."""
    began = time.perf_counter()
    process = pen.spawn([sys.executable, "-c", "print('hello')"], cwd=pen.folder, stdout=subprocess.PIPE)
    try:
        assert process.stdout is not None
        if not process.stdout.read(1):
            raise BenchError("python printed nothing")
        return (time.perf_counter() - began) * 1e3
    finally:
        pen.empty(process)


def run(report: Report, pen: Pen, rounds: int) -> None:
    """Take ``rounds`` rounds of both, after one that only warms the caches."""
    measures = {SIDECAR: _ours, PYTHON: _python}
    taken: dict[str, list[float]] = {name: [] for name in measures}
    for turn in range(rounds + 1):
        for name in contenders.in_turn(measures, turn):
            value = measures[name](pen)
            if turn:
                taken[name].append(value)
    what = "launch → answer to initialize"
    report.rows += [
        Row(BENCH, what, SIDECAR, "ms", tuple(taken[SIDECAR]), "from source; the design's bar is for the frozen one"),
        Row(BENCH, what, PYTHON, "ms", tuple(taken[PYTHON]), "to its first line"),
        Row(BENCH, f"sidecar / {PYTHON}", SIDECAR, "×", ratios(taken[SIDECAR], taken[PYTHON]), "round by round"),
    ]
