"""A script beside a run: when the bench has ended, however that happened, it kills all processes that are left.

Its arguments are the run's mark and temporary folder; its stdin is a pipe from the bench. It does not carry the mark
itself.
"""

from __future__ import annotations

import select
import shutil
import signal
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from tests.bench.processes import await_end, sweep

RUN_SECONDS = 3600.0
"""Longest run. After it everything is killed, even if the bench lives."""
LEAVE_SECONDS = 1.0
"""Time for our sidecar to notice the bench's death: ending by itself, it leaves less than when it is killed."""


def main() -> None:
    """Wait for the end of stdin, then kill what is left. After a normal end nothing is left."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    select.select([sys.stdin], [], [], RUN_SECONDS)
    mark, folder = sys.argv[1:]
    await_end(mark, LEAVE_SECONDS)
    sweep(mark)
    shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    main()
