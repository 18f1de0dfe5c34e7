"""A stand-in for the app: it launches the contender over pipes, as Tauri does, and lives until it is killed.

Its argument is a JSON object: ``argv`` and ``cwd`` of the contender, ``send`` (lines for its stdin), ``seconds`` (the
longest life of this process).
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys

assert sys.platform != "win32"  # so that mypy reads on only where there is an alarm


def main() -> None:
    """Launch the contender, send the lines, and drain stdout for ever."""
    order = json.loads(sys.argv[1])
    signal.alarm(order["seconds"])
    contender = subprocess.Popen(order["argv"], cwd=order["cwd"], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert contender.stdin is not None
    assert contender.stdout is not None
    contender.stdin.write("".join(f"{line}\n" for line in order["send"]).encode())
    contender.stdin.flush()
    while os.read(contender.stdout.fileno(), 65_536):
        pass
    sys.exit(f"the contender closed its stdout and ended with {contender.wait()}")


if __name__ == "__main__":
    main()
