"""Several services: independent ones start side by side, and several slow stops take as long as the slowest."""

from __future__ import annotations

import json
import time
from collections.abc import Iterable, Mapping
from functools import partial

from tests.bench import contenders
from tests.bench.client import Message, Sidecar, answer
from tests.bench.contenders import SIDECAR
from tests.bench.processes import BenchError, Pen
from tests.bench.report import Goal, Report, Row, ratios
from tests.bench.start import take

BENCH = "several"
ANSWER_SECONDS = 60.0

SLOW_S, QUICK_S = 0.8, 0.5
"""Times until two services are ready. They sleep, so they do not compete for a core."""
SIDE_BY_SIDE = Goal(1.05)

STOP_S = 0.6
"""Time that a service needs to stop."""
GRACE_MS = 1_500
"""Grace of the shutdown: enough for one stop, but not for three in a row."""

FIRST_CALL = 2
"""The id of the first request after ``initialize``."""


def sleeper(seconds: float) -> Message:
    """Return a service that is ready after this time."""
    script = f"sleep {seconds}; echo up; exec sleep 1000"
    return {"type": "command", "command": ["/bin/sh", "-c", script], "ready": {"type": "log", "pattern": "^up$"}}


def slow_to_stop() -> Message:
    """Return a service that ends ``STOP_S`` after SIGTERM, and leaves no process."""
    script = f"trap 'sleep {STOP_S}; kill $!; exit 0' TERM; echo up; while :; do sleep 1000 & wait; done"
    return {"type": "command", "command": ["/bin/sh", "-c", script], "ready": {"type": "log", "pattern": "^up$"}}


def _request(call: int, method: str, **params: object) -> str:
    return json.dumps({"jsonrpc": "2.0", "id": call, "method": method, "params": params})


def _start(pen: Pen, services: Mapping[str, object]) -> Sidecar:
    """Launch a sidecar that has answered ``initialize``."""
    sidecar = Sidecar.launch(pen, contenders.ours(pen.folder, services, start_service=None))
    sidecar.await_message(answer(1), time.perf_counter() + ANSWER_SECONDS)
    return sidecar


def _all_ready(sidecar: Sidecar, names: Iterable[str]) -> float:
    """Start the services at once; return the milliseconds until the last one is ready."""
    began = time.perf_counter()
    calls = dict(enumerate(names, FIRST_CALL))
    for call, name in calls.items():
        sidecar.send(_request(call, "start", service=name))
    deadline = began + ANSWER_SECONDS
    return max(sidecar.await_message(answer(call), deadline)[0] - began for call in calls) * 1e3


def ready(pen: Pen, seconds: Mapping[str, float]) -> float:
    """Return the milliseconds from the requests until all of these services are ready."""
    sidecar = _start(pen, {name: sleeper(each) for name, each in seconds.items()})
    try:
        return _all_ready(sidecar, seconds)
    finally:
        pen.let_go(sidecar.process)


def stopped(pen: Pen, count: int) -> float:
    """Return the milliseconds from ``shutdown`` to its answer. Raises ``BenchError`` if a service was killed."""
    names = [f"slow{number}" for number in range(count)]
    sidecar = _start(pen, {name: slow_to_stop() for name in names})
    try:
        _all_ready(sidecar, names)
        call = FIRST_CALL + count
        began = time.perf_counter()
        sidecar.send(_request(call, "shutdown", graceMs=GRACE_MS))
        when, _ = sidecar.await_message(answer(call), began + ANSWER_SECONDS)
        for name in names:
            _, exited = sidecar.await_message(partial(_is_exit, name), began + ANSWER_SECONDS)
            if exited["params"].get("code") != 0:
                raise BenchError(f"{name} was killed instead of ending by itself: {json.dumps(exited['params'])}")
        return (when - began) * 1e3
    finally:
        pen.let_go(sidecar.process)


def _is_exit(name: str, message: Message) -> bool:
    return message.get("method") == "service/exited" and message["params"]["service"] == name


def run(report: Report, pen: Pen, rounds: int) -> None:
    """Measure ``rounds`` rounds of all."""
    alone, both, stops = "the slower alone", "two at once", "three slow stops"
    measures = {
        alone: partial(ready, pen, {"slow": SLOW_S}),
        both: partial(ready, pen, {"slow": SLOW_S, "quick": QUICK_S}),
        stops: partial(stopped, pen, 3),
    }
    taken = take(measures, rounds)
    side_by_side = ratios(taken[both], taken[alone])
    grace = (Goal(float(GRACE_MS)),)
    report.rows += [
        Row(BENCH, f"start → ready, {alone}", SIDECAR, "ms", tuple(taken[alone]), f"ready after {SLOW_S:g} s"),
        Row(BENCH, f"start → all ready, {both}", SIDECAR, "ms", tuple(taken[both]), f"the other after {QUICK_S:g} s"),
        Row(BENCH, f"{both} / {alone}", SIDECAR, "×", side_by_side, "round by round", (SIDE_BY_SIDE,)),
        Row(BENCH, f"shutdown, {stops}", SIDECAR, "ms", tuple(taken[stops]), f"each {STOP_S:g} s", grace, worst=True),
    ]
