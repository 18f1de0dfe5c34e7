"""The main job, shown by doing it: python3 build/dev.py demo.

Another program holds the preferred port. A stand-in for the Tauri app launches the sidecar over pipes. Vite becomes
ready on another port. A source file is edited, and the page's websocket hears of it. The app is killed; no process is
left. Each step prints a line with its time. The exit code is 0 only if every step holds. Whatever happens, the demo
restores the edited file and ends every process that it has started, by identity.

The sidecar runs from source, or is the frozen binary that SIDECAR_BINARY names.
"""

from __future__ import annotations

import argparse
import signal
import sys
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))  # Wine's Python looks in its own folder only

from build.demo.app import be_the_app  # noqa: E402  see above
from build.demo.roles import AS_APP, AS_STRANGER  # noqa: E402
from build.demo.show import DemoError, Show  # noqa: E402
from build.demo.story import demonstrate  # noqa: E402
from build.demo.stranger import be_a_stranger  # noqa: E402
from tests.support.page import PageError  # noqa: E402

PROJECT = ROOT / "tauri-integration" / "examples" / "vite-app"
PORT = 5173

STOPPING = [signal.SIGINT, signal.SIGTERM]
if sys.platform != "win32":
    STOPPING.append(signal.SIGHUP)


class StoppedError(Exception):
    """A signal asked us to end."""

    def __init__(self, number: int) -> None:
        super().__init__(signal.Signals(number).name)
        self.number = number


def main(argv: Sequence[str]) -> int:
    """Run the demo, or one of the two processes that it starts."""
    if argv[:1] == [AS_APP]:
        return be_the_app(argv[1])
    if argv[:1] == [AS_STRANGER]:
        return be_a_stranger(int(argv[1]))
    parser = argparse.ArgumentParser(prog="build/dev.py demo", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--project", type=Path, default=PROJECT, help="the Vite project (default: the example)")
    parser.add_argument("--port", type=int, default=PORT, help=f"the preferred port (default: {PORT})")
    options = parser.parse_args(argv)
    show = Show(sys.stdout)
    for number in STOPPING:
        signal.signal(number, stop)
    try:
        with ExitStack() as stack:
            demonstrate(show, stack, options.project.resolve(), options.port)
    except (DemoError, PageError, OSError) as problem:
        show.failed(str(problem))
        return 1
    except StoppedError as stopped:
        show.failed(f"stopped by {stopped}; the edited file is as it was, and nothing is left running")
        return 128 + stopped.number
    return 0


def stop(number: int, _frame: object) -> None:
    """End through every clean-up. These are bounded, so further signals are ignored."""
    for each in STOPPING:
        signal.signal(each, signal.SIG_IGN)
    raise StoppedError(number)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
