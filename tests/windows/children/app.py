"""A stand-in for the Tauri app: it launches the sidecar over pipes that no other process holds.

Its arguments are the sidecar's command. It prints a first line with the sidecar's pid, then relays stdin to the sidecar
and the sidecar's output to stdout. The lines ``!exit`` and ``!close`` (close the sidecar's stdin) are commands to it.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading

LIFE_S = 300


def main() -> None:
    threading.Timer(LIFE_S, os._exit, (124,)).start()
    sidecar = subprocess.Popen(sys.argv[1:], stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=0)
    assert sidecar.stdin is not None
    os.write(1, json.dumps({"launched": sidecar.pid}).encode() + b"\n")
    threading.Thread(target=relay, args=(sidecar,), daemon=True).start()
    for line in sys.stdin.buffer:
        if line == b"!exit\n":
            break
        if line == b"!close\n":
            sidecar.stdin.close()
        else:
            sidecar.stdin.write(line)
    os._exit(0)


def relay(sidecar: subprocess.Popen[bytes]) -> None:
    assert sidecar.stdout is not None
    while data := sidecar.stdout.read(65_536):
        os.write(1, data)


main()
