"""Reuse a dead process's pid, in a new pid namespace, and check that the sidecar's code notices: ``reuse.py ROOT``.

Each line of output is a check that passed.
"""

from __future__ import annotations

import os
import signal
import socket
import sys
import time

if sys.platform != "linux":
    raise ImportError("pid namespaces")

sys.path.insert(0, sys.argv[1])

from sidecar.host.linux import orphans, processes
from sidecar.state import run_record

RUN_ID = "f" * 32


theirs, ours = socket.socketpair()


def child() -> int:
    """Start a process that echoes its input."""
    pid = os.fork()
    if pid == 0:
        ours.close()
        while word := theirs.recv(1):
            theirs.send(word)
        os._exit(0)
    return pid


def successor(of: int) -> int:
    """Start another process with the same pid, by setting the namespace's last pid."""
    with open("/proc/sys/kernel/ns_last_pid", "w", encoding="ascii") as file:
        file.write(str(of - 1))
    return child()


def tick() -> int:
    """Return the clock ticks since boot, the unit of start times."""
    return int(time.clock_gettime(time.CLOCK_BOOTTIME) * os.sysconf("SC_CLK_TCK"))


def answers() -> bool:
    """Return whether the only child that is left lives and has not been signalled."""
    theirs.close()
    ours.send(b".")
    return ours.recv(1) == b"."


def main() -> None:
    first = child()
    old = processes.read_process(first)
    assert old is not None
    os.kill(first, signal.SIGKILL)
    os.waitpid(first, 0)
    while tick() <= old.start:
        pass  # within one tick the same pid would be the same identity; outside this tiny namespace that cannot happen
    second = successor(first)
    new = processes.read_process(second)
    assert new is not None
    assert (new.pid, new.start > old.start) == (old.pid, True)
    print("another start")

    old.ppid = 0  # we have reaped it, so the code must not treat it as an unreaped child
    processes.send(old, signal.SIGKILL)
    assert answers()
    print("the dead one takes no signal")

    owner = run_record.Identity(old.pid, old.start)
    assert not orphans.lives(owner)
    print("the owner is dead")

    path = run_record.run_path(RUN_ID)
    boot = orphans.boot_id()
    run_record.write_run(path, run_record.RunRecord(run_id=RUN_ID, boot_id=boot, owners=(owner,)))
    report = orphans.sweep()
    assert report is not None
    assert (report.records, report.processes) == (1, ())
    assert not os.path.exists(path)
    assert answers()
    print("the record went, and the other one lives")


main()
