"""A stand-in for the Tauri app: it launches the sidecar over pipes that no other process holds.

Its argument is a JSON object:

- ``argv`` and ``cwd``: of the sidecar
- ``seconds``: the longest life of this script
- ``group``: a control group to join first
- ``siblings``, ``siblings_env``: commands to start beside the sidecar, each in its own session
- ``near``: whether to start each sibling also in this script's process group
- ``heir``: whether to start the first sibling once more, with the sidecar's stdin pipe

It prints a first line with the sidecar's pid, then relays stdin to the sidecar and the sidecar's output to stdout. The
lines ``!exit`` and ``!close`` (close the sidecar's stdin) are commands to it.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading

assert sys.platform != "win32"  # for mypy: there is an alarm


def main() -> None:
    order = json.loads(sys.argv[1])
    signal.alarm(order["seconds"])
    for number in (signal.SIGINT, signal.SIGHUP):  # under nohup they are ignored, and children inherit that
        signal.signal(number, signal.SIG_DFL)
    if order["group"]:
        with open(f"{order['group']}/cgroup.procs", "w", encoding="ascii") as file:
            file.write("0")
    for command in order["siblings"]:
        for apart in (False, True) if order["near"] else (True,):
            subprocess.Popen(
                command,
                env={**os.environ, **order["siblings_env"]},
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                start_new_session=apart,
            )
    sidecar = subprocess.Popen(
        order["argv"], cwd=order["cwd"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=0
    )
    assert sidecar.stdin is not None
    if order["heir"]:
        command, env = order["siblings"][0], {**os.environ, **order["siblings_env"]}
        subprocess.Popen(command, env=env, stdin=subprocess.DEVNULL, pass_fds=[sidecar.stdin.fileno()])
    os.write(1, json.dumps({"launched": sidecar.pid}).encode() + b"\n")
    threading.Thread(target=relay, args=(sidecar,), daemon=True).start()
    for line in sys.stdin.buffer:
        if line == b"!exit\n":
            break
        if line == b"!close\n":
            sidecar.stdin.close()
        else:
            try:
                sidecar.stdin.write(line)
            except BrokenPipeError:
                pass  # the sidecar was killed; this script lives on
    os._exit(0)


def relay(sidecar: subprocess.Popen[bytes]) -> None:
    assert sidecar.stdout is not None
    while data := sidecar.stdout.read(65_536):
        os.write(1, data)


main()
