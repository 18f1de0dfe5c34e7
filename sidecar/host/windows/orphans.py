"""The sweep on Windows at the next start. No process survives its run's job, so only files can be left.

A run has one owner, its supervisor. Pid and time of creation identify it, also across boots.
"""

from __future__ import annotations

import sys

assert sys.platform == "win32"  # for mypy: what follows exists on Windows

import psutil

from sidecar.host import orphans
from sidecar.host.orphans import Orphans, Verdict
from sidecar.host.windows.processes import lives
from sidecar.protocol.messages import SupervisorSwept
from sidecar.state import run_record


def find() -> Orphans:
    """See ``Survey``."""
    found, _ = orphans.look(judge, lambda pid: not psutil.pid_exists(pid))
    return found


def end(left: Orphans) -> SupervisorSwept | None:
    """See ``Survey``."""
    return orphans.finish(left, list(left.problems))


def judge(record: run_record.RunRecord) -> Verdict:
    """Tell whether the run lives."""
    return "lives" if any(map(lives, record.owners)) else "dead"
