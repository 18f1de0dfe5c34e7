"""A script beside a run: when the bench is gone, however it went, end all that it left.

Takes the run's mark and its temporary folder as arguments; its stdin is a pipe from the bench. It does not carry the
mark itself.
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
"""No run takes longer. After it everything is ended, whether the bench lives or not."""
LEAVE_SECONDS = 1.0
"""Our sidecar notices the bench's death, too, and then leaves less behind than one that is killed."""


def main() -> None:
    """Wait for the end of stdin, then sweep; after a bench that ended well nothing is left to do."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    select.select([sys.stdin], [], [], RUN_SECONDS)
    mark, folder = sys.argv[1:]
    await_end(mark, LEAVE_SECONDS)
    sweep(mark)
    shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    main()
