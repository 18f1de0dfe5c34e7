"""The next start on Windows: no process outlives its run's job, so only files can be left.

A run's owner is its supervisor alone; it is told from any other process by pid and instant of creation, which no later
boot repeats.
"""

from __future__ import annotations

import sys

assert sys.platform == "win32"  # for mypy: what follows exists on Windows

import psutil

from sidecar.host import leftovers, records
from sidecar.host.leftovers import Leftovers, Verdict
from sidecar.host.windows.processes import lives
from sidecar.wire.messages import SupervisorSwept


def find() -> Leftovers:
    """See ``Survey``."""
    found, _ = leftovers.look(judge, lambda pid: not psutil.pid_exists(pid))
    return found


def end(left: Leftovers) -> SupervisorSwept | None:
    """See ``Survey``."""
    return leftovers.report(left, [*left.problems, *leftovers.clear(left)])


def judge(record: records.RunRecord) -> Verdict:
    """Whether the run lives."""
    return "lives" if any(map(lives, record.owners)) else "dead"
