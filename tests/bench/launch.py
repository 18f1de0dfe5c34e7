"""Launch → ready: from just before the process is made until Vite answers, seen by one poller for all contenders."""

from __future__ import annotations

import socket
import subprocess
import threading
import time
from collections import defaultdict
from pathlib import Path

from tests.bench import contenders
from tests.bench.client import Sidecar, notification, tail
from tests.bench.contenders import HOST, NODE, NPM, SIDECAR, Launch, Tools
from tests.bench.processes import BenchError, Pen
from tests.bench.report import Check, Report, Row, ratios

BENCH = "launch"
READY_SECONDS = 60.0
"""A Vite that is not there by then will not be measured."""
POLL_SECONDS = 0.001
"""A refused connection costs some 50 µs: the poller takes a few per cent of one core, from every contender alike."""
PING = f"GET / HTTP/1.1\r\nHost: {HOST}\r\nAccept: text/x-vite-ping\r\nConnection: close\r\n\r\n".encode()
ANSWER = "first 204"
NOTICE = "service/ready after 204"


def free_port() -> int:
    """A port that nobody has now."""
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        port: int = probe.getsockname()[1]
        return port


def _pinged(port: int) -> bool:
    """Whether Vite answers on ``port`` right now."""
    try:
        with socket.create_connection((HOST, port), timeout=5.0) as connection:
            connection.sendall(PING)
            return b" 204 " in connection.recv(64)
    except OSError:  # not listening yet, or it went away in between: asked again
        return False


def first_answer(port: int, process: subprocess.Popen[bytes], errors: Path) -> float:
    """The time (``time.perf_counter``, seconds) at which Vite first answered on ``port``."""
    deadline = time.perf_counter() + READY_SECONDS
    while not _pinged(port):
        if process.poll() is not None:
            raise BenchError(f"it ended with {process.returncode} before it was ready: {tail(errors)}")
        if time.perf_counter() > deadline:
            raise BenchError(f"no answer within {READY_SECONDS:g} s: {tail(errors)}")
        time.sleep(POLL_SECONDS)
    return time.perf_counter()


def _ours(pen: Pen, how: Launch, port: int) -> tuple[float, float]:
    """Milliseconds from launch to the first answer, and from there to ``service/ready`` (negative: it came first)."""
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
        return (answered - sidecar.launched) * 1e3, (noticed[0] - answered) * 1e3
    finally:
        pen.empty(sidecar.process)


def _peer(pen: Pen, how: Launch, port: int) -> float:
    """Milliseconds from launch to the first answer."""
    errors = pen.folder / "peer.stderr"
    with errors.open("wb") as sink:
        launched = time.perf_counter()
        process = pen.spawn(how.argv, cwd=how.cwd, env=how.env, stderr=sink)
    try:
        return (first_answer(port, process, errors) - launched) * 1e3
    finally:
        pen.empty(process)


def run(report: Report, pen: Pen, tools: Tools, project: Path, rounds: int) -> None:
    """Take ``rounds`` rounds, each contender once a round, after one that only warms the caches."""
    if not (project / "node_modules" / "vite").is_dir():
        raise BenchError(f"{project} has no vite: run `npm ci` there first (`python3 build/dev.py bench` does)")
    taken: dict[str, list[float]] = defaultdict(list)
    lags: list[float] = []
    for turn in range(rounds + 1):
        names = [SIDECAR, NPM, NODE]
        # The order turns, so that nobody always runs behind the same neighbour.
        for name in names[turn % 3 :] + names[: turn % 3]:
            port = free_port()
            how = contenders.vite(tools, pen.folder, project, port)[name]
            if name == SIDECAR:
                value, lag = _ours(pen, how, port)
                lags += [lag] if turn else []
            else:
                value = _peer(pen, how, port)
            if turn:
                taken[name].append(value)
    for name in (SIDECAR, NPM, NODE):
        report.rows.append(Row(BENCH, ANSWER, name, "ms", tuple(taken[name])))
    notice = Row(BENCH, NOTICE, SIDECAR, "ms", tuple(lags), "negative: our notice came before the outside poller's 204")
    to_npm = Row(BENCH, f"sidecar / {NPM}", SIDECAR, "×", ratios(taken[SIDECAR], taken[NPM]), "round by round")
    to_node = Row(BENCH, f"sidecar / {NODE}", SIDECAR, "×", ratios(taken[SIDECAR], taken[NODE]), "round by round")
    report.rows += [notice, to_npm, to_node]
    report.checks += [
        Check(BENCH, f"launch → 204, against {NPM}", "×", to_npm.median, 0.9),
        Check(BENCH, f"launch → 204, against {NODE}", "×", to_node.median, 1.1, "better"),
        Check(BENCH, NOTICE, "ms", notice.median, 10.0, note="the bar of the issue"),
    ]
