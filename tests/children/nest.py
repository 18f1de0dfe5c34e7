"""A service that is an app itself: ``nest.py ORDER`` launches a sidecar and has it start its services.

ORDER is a JSON object: ``argv`` and ``cwd`` of that sidecar, and ``services``.
"""

from __future__ import annotations

import json
import signal
import subprocess
import sys

assert sys.platform != "win32"  # for mypy: there is an alarm

LIFE_S = 280
"""Longest life, whatever happens to the test."""


def main() -> None:
    signal.alarm(LIFE_S)
    order = json.loads(sys.argv[1])
    sidecar = subprocess.Popen(
        order["argv"], cwd=order["cwd"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=0
    )
    assert sidecar.stdin is not None
    assert sidecar.stdout is not None
    hello = {"protocolVersion": 1, "client": {"name": "nest", "version": "1"}, "services": order["services"]}
    for number, (method, params) in enumerate(
        [("initialize", hello), *(("start", {"service": name}) for name in order["services"])]
    ):
        line = {"jsonrpc": "2.0", "id": number, "method": method, "params": params}
        sidecar.stdin.write(json.dumps(line).encode() + b"\n")
    while sidecar.stdout.read(65_536):
        pass


main()
