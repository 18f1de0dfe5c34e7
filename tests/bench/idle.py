"""CPU, wake-ups and memory of all our processes while Vite is ready and nothing happens."""

from __future__ import annotations

import time
from pathlib import Path

import psutil

from tests.bench import contenders
from tests.bench.client import Sidecar, answer
from tests.bench.contenders import HOST, SIDECAR
from tests.bench.launch import free_port
from tests.bench.processes import BenchError, Pen
from tests.bench.report import Goal, Report, Row
from tests.bench.usage import pss_bytes, usage

BENCH = "idle"
WINDOW_SECONDS = 20.0
"""Time of one measurement: four health intervals."""
READY_SECONDS = 60.0
CPU_PERCENT = Goal(0.2)
"""The bar for "about 0 %". A health probe every five seconds costs half of it."""
SWITCHES_A_SECOND = Goal(5.0)
"""The bar for "no timer faster than the health interval". A 10 Hz timer would exceed it, a probe does not."""
GUARD_SWITCHES = Goal(0.0)
"""Guard and keeper have no timers: they sleep until a process dies."""


def our_processes(launched: int, supervisor: int) -> list[int]:
    """Return our processes: the launched one (bootloader or guard) first, the supervisor last."""
    chain = [psutil.Process(supervisor)]
    while chain[-1].pid != launched:
        parent = chain[-1].parent()
        if parent is None:
            raise BenchError(f"the supervisor {supervisor} is not below {launched}, the process that was launched")
        chain.append(parent)
    above = [process.pid for process in reversed(chain)][:-1]
    keepers = [process.pid for process in chain[1].children() if process.pid != supervisor]
    return [*above, *keepers, supervisor]


def run(report: Report, pen: Pen, project: Path, rounds: int) -> None:
    """Measure ``rounds`` sidecars, for ``WINDOW_SECONDS`` each."""
    cpu: list[float] = []
    above: list[float] = []
    supervisor: list[float] = []
    memory: list[float] = []
    each: list[float] = []
    for _ in range(rounds):
        service = {"type": "vite", "root": str(project), "port": {"preferred": free_port(), "host": HOST}}
        sidecar = Sidecar.launch(pen, contenders.ours(pen.folder, {"web": service}, start_service="web"))
        try:
            deadline = time.perf_counter() + READY_SECONDS
            hello = sidecar.await_message(answer(1), deadline)[1]
            sidecar.await_message(answer(2), deadline)
            pids = our_processes(sidecar.process.pid, hello["result"]["pid"])
            # A plain sleep: the measurement is about this window of time.
            began, before = time.perf_counter(), [usage(pid) for pid in pids]
            time.sleep(WINDOW_SECONDS)
            after, took = [usage(pid) for pid in pids], time.perf_counter() - began
            spent = [late - early for early, late in zip(before, after, strict=True)]
            cpu.append(sum(one.cpu_seconds for one in spent) / took * 100)
            above.append(sum(one.switches for one in spent[:-1]) / took)
            supervisor.append(spent[-1].switches / took)
            each = [pss_bytes(pid) / 1e6 for pid in pids]
            memory.append(sum(each))
        finally:
            pen.let_go(sidecar.process)
    over = f"over {WINDOW_SECONDS:g} s with Vite ready"
    shares = " + ".join(f"{value:.1f}" for value in each)
    pss_note = f"guard + keeper + supervisor: {shares}, from source; the bar is for the frozen one"
    report.rows += [
        Row(BENCH, "CPU of our processes", SIDECAR, "%", tuple(cpu), over, (CPU_PERCENT,)),
        Row(BENCH, "context switches, guard and keeper", SIDECAR, "1/s", tuple(above), over, (GUARD_SWITCHES,)),
        Row(BENCH, "context switches, supervisor", SIDECAR, "1/s", tuple(supervisor), over, (SWITCHES_A_SECOND,)),
        Row(BENCH, "PSS of our processes", SIDECAR, "MB", tuple(memory), pss_note),
    ]
