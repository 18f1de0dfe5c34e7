"""What the sidecar uses while Vite is ready and nothing happens: CPU, wake-ups and memory of all our processes."""

from __future__ import annotations

import time
from pathlib import Path

import psutil

from tests.bench import contenders
from tests.bench.client import Sidecar, answer
from tests.bench.contenders import HOST, SIDECAR
from tests.bench.launch import free_port
from tests.bench.processes import BenchError, Pen, pss_bytes, usage
from tests.bench.report import Check, Report, Row

BENCH = "idle"
WINDOW_SECONDS = 20.0
"""Four health intervals."""
READY_SECONDS = 60.0
MOST_CPU_PERCENT = 0.2
"""How "about 0 %" is read: a health probe every five seconds costs a tenth of that."""
MOST_SWITCHES_A_SECOND = 5.0
"""How "no timer faster than the health interval" is read: a timer of 10 Hz would be over it, a probe is not."""


def our_processes(launched: int, supervisor: int) -> list[int]:
    """From the process that was launched down to the supervisor: the guard, too, and a bootloader if there is one."""
    chain = [psutil.Process(supervisor)]
    while chain[-1].pid != launched:
        parent = chain[-1].parent()
        if parent is None:
            raise BenchError(f"the supervisor {supervisor} is not below {launched}, the process that was launched")
        chain.append(parent)
    return [process.pid for process in reversed(chain)]


def run(report: Report, pen: Pen, project: Path, rounds: int) -> None:
    """Look at ``rounds`` sidecars, for ``WINDOW_SECONDS`` each."""
    cpu: list[float] = []
    switches: list[float] = []
    memory: list[float] = []
    names: list[str] = []
    for _ in range(rounds):
        service = {"type": "vite", "root": str(project), "port": {"preferred": free_port(), "host": HOST}}
        how = contenders.ours(pen.folder, {"web": service}, start_service="web")
        sidecar = Sidecar.launch(pen, how)
        try:
            deadline = time.perf_counter() + READY_SECONDS
            hello = sidecar.await_message(answer(1), deadline)[1]
            sidecar.await_message(answer(2), deadline)
            pids = our_processes(sidecar.process.pid, hello["result"]["pid"])
            # Nothing is awaited here: the window itself is what is measured.
            began, before = time.perf_counter(), usage(pids)
            time.sleep(WINDOW_SECONDS)
            after, took = usage(pids), time.perf_counter() - began
            cpu.append((after.cpu_seconds - before.cpu_seconds) / took * 100)
            switches.append((after.switches - before.switches) / took)
            each = [pss_bytes(pid) / 1e6 for pid in pids]
            memory.append(sum(each))
            names = [f"{value:.1f}" for value in each]
        finally:
            pen.empty(sidecar.process)
    found = Row(BENCH, "CPU of our processes", SIDECAR, "%", tuple(cpu), f"over {WINDOW_SECONDS:g} s with Vite ready")
    waking = Row(BENCH, "context switches", SIDECAR, "1/s", tuple(switches))
    pss = Row(BENCH, "PSS of our processes", SIDECAR, "MB", tuple(memory), f"{' + '.join(names)}, from source")
    report.rows += [found, waking, pss]
    report.checks += [
        Check(BENCH, "CPU", "%", found.median, MOST_CPU_PERCENT, note='"~0 %"'),
        Check(BENCH, "context switches", "1/s", waking.median, MOST_SWITCHES_A_SECOND, note="no fast timer"),
        Check(BENCH, "PSS", "MB", pss.median, 20.0, note="the bar is for the frozen sidecar"),
        Check(BENCH, "PSS", "MB", pss.median, 15.0, "better", note="the bar is for the frozen sidecar"),
    ]
