"""Launch → ready: the time from just before the spawn until Vite answers. One poller measures all contenders."""

from __future__ import annotations

import random
import socket
import subprocess
import threading
import time
from pathlib import Path

from tests.bench import contenders
from tests.bench.client import Sidecar, notification, tail
from tests.bench.contenders import HOST, NODE, NPM, SIDECAR, Launch, Tools
from tests.bench.processes import BenchError, Pen
from tests.bench.report import Goal, Report, Row, ratios

BENCH = "launch"
READY_SECONDS = 60.0
"""Longest wait for Vite, in seconds. After that the measurement fails."""
POLL_SECONDS = 0.001
"""The poll interval, and so the error. A refused connection costs some 30 µs, so polling takes little of a core."""
PORTS = range(20_000, 32_000)
"""Ports outside the ephemeral range. In that range a connect of the poller could meet itself, and so take the port from
the contender."""
PING = f"GET / HTTP/1.1\r\nHost: {HOST}\r\nAccept: text/x-vite-ping\r\nConnection: close\r\n\r\n".encode()
PING_SECONDS = 5.0
"""Timeout of an answer: a Vite that accepts the connection may still be busy with its start."""


def free_port() -> int:
    """Return a port that is free now."""
    while True:
        port = random.choice(PORTS)
        with socket.socket() as probe:
            try:
                probe.bind((HOST, port))
            except OSError:  # it is taken
                continue
        return port


def _pinged(port: int) -> bool:
    """Return whether Vite answers on ``port`` now."""
    with socket.socket() as connection:
        try:
            connection.settimeout(PING_SECONDS)
            connection.connect((HOST, port))
            connection.sendall(PING)
            return b" 204 " in connection.recv(64)
        except OSError:  # not listening yet, or it closed the connection: try again
            return False


def first_answer(port: int, process: subprocess.Popen[bytes], errors: Path) -> float:
    """Return when (``time.perf_counter``, seconds) Vite first answered on ``port``."""
    deadline = time.perf_counter() + READY_SECONDS
    while not _pinged(port):
        if process.poll() is not None:
            raise BenchError(f"it ended with {process.returncode} before it was ready: {tail(errors)}")
        if time.perf_counter() > deadline:
            raise BenchError(f"no answer within {READY_SECONDS:g} s: {tail(errors)}")
        time.sleep(POLL_SECONDS)
    return time.perf_counter()


def _ours(pen: Pen, how: Launch, port: int) -> tuple[float, float]:
    """Return the milliseconds from launch to the first answer to the poller, and from launch to ``service/ready``."""
    sidecar = Sidecar.launch(pen, how)
    noticed: list[float] = []
    faults: list[BenchError] = []

    def listen() -> None:
        try:
            deadline = time.perf_counter() + READY_SECONDS
            noticed.append(sidecar.await_message(notification("service/ready"), deadline)[0])
        except BenchError as fault:
            faults.append(fault)

    listener = threading.Thread(target=listen)
    try:
        listener.start()
        try:
            answered = first_answer(port, sidecar.process, sidecar.errors)
        finally:
            listener.join(READY_SECONDS)
        if faults:
            raise faults[0]
        return (answered - sidecar.launched) * 1e3, (noticed[0] - sidecar.launched) * 1e3
    finally:
        pen.let_go(sidecar.process)


def _peer(pen: Pen, how: Launch, port: int) -> float:
    """Return the milliseconds from launch to the first answer."""
    errors = pen.folder / "peer.stderr"
    with errors.open("wb") as sink:
        launched = time.perf_counter()
        process = pen.spawn(how.argv, cwd=how.cwd, env=how.env, stderr=sink)
    try:
        return (first_answer(port, process, errors) - launched) * 1e3
    finally:
        pen.empty(process)


def run(report: Report, pen: Pen, tools: Tools, project: Path, rounds: int) -> None:
    """Measure ``rounds`` rounds, each contender once a round, after one warm-up round."""
    if not (project / "node_modules" / "vite").is_dir():
        raise BenchError(f"{project} has no vite: run `npm ci` there first (`python3 build/dev.py bench` does)")
    names = [name for name in (SIDECAR, NPM, NODE) if name not in tools.skipped]
    taken: dict[str, list[float]] = {name: [] for name in names}
    ready: list[float] = []
    for turn in range(rounds + 1):
        for name in contenders.in_turn(names, turn):
            port = free_port()
            how = contenders.vite(tools, pen.folder, project, port)[name]
            value, told = _ours(pen, how, port) if name == SIDECAR else (_peer(pen, how, port), 0.0)
            if turn:
                taken[name].append(value)
                ready += [told] if name == SIDECAR else []
    lags = tuple(told - answered for told, answered in zip(ready, taken[SIDECAR], strict=True))
    report.rows += [Row(BENCH, "launch → first 204", name, "ms", tuple(taken[name])) for name in names]
    for peer, goal in ((NPM, Goal(0.9)), (NODE, Goal(1.1, better=True))):
        ratio = ratios(taken[SIDECAR], taken[peer]) if peer in taken else ()
        note = tools.skipped.get(peer, "round by round")
        report.rows.append(Row(BENCH, f"sidecar / {peer}", SIDECAR, "×", ratio, note, (goal,)))
    report.rows += [
        Row(BENCH, "launch → service/ready", SIDECAR, "ms", tuple(ready), "as the app is told it"),
        Row(
            BENCH,
            "service/ready after first 204",
            SIDECAR,
            "ms",
            lags,
            "negative: before the poller's first answer",
            (Goal(10.0),),
        ),
    ]
