"""The stand-in for the Tauri app: the process that launches the sidecar, and the demo's side of it."""

from __future__ import annotations

import json
import os
import queue
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

from build.demo.roles import AS_APP, ROOT, leave_with_stdin, lines_of, started
from build.demo.show import DemoError
from tests.support.page import STEP_S, Message

SERVICE = "web"
INITIALIZE, START = 1, 2
"""The ids of the stand-in app's two requests."""

MAIN = "import sys; sys.path.insert(0, sys.argv.pop(1)); from sidecar.cli import main; sys.exit(main())"
"""Runs the sidecar from source, also by a Python that looks for modules only in its own folder, as under Wine."""


class App:
    """The demo's side of the stand-in app: the messages that the app gets from the sidecar, and their times."""

    def __init__(self, stack: ExitStack, project: Path, port: int, state: str) -> None:
        """Start the stand-in app, which launches the sidecar and asks for the service at once."""
        order = json.dumps({"project": str(project), "port": port})
        process = stack.enter_context(started([AS_APP, order], SIDECAR_STATE_DIR=state))
        self._heard = lines_of(process)
        first = self._next(time.monotonic() + STEP_S)
        self.pid: int = first["app"]
        self._launched: float = first["launched"]
        self.sidecar: int = first["pid"]
        self._at: float = self._launched
        self._log: list[str] = []

    def _next(self, deadline: float) -> Message:
        try:
            heard = self._heard.get(timeout=max(0.0, deadline - time.monotonic()))
        except queue.Empty:
            raise DemoError(f"the sidecar sent no such message within {STEP_S:g} s") from None
        if not heard:
            raise DemoError("the sidecar ended (or the stand-in app did)")
        message: Message = json.loads(heard)
        return message

    def hear(self, wanted: Callable[[Message], bool]) -> Message:
        """Return the next message that is ``wanted``.

        Raises ``DemoError`` if it does not come in time, or if the sidecar answers with an error.
        """
        deadline = time.monotonic() + STEP_S
        while True:
            heard = self._next(deadline)
            message: Message = heard["message"]
            self._at = heard["at"]
            if "error" in message:
                lines = message["error"].get("data", {}).get("lines", [])
                raise DemoError("\n      ".join([message["error"]["message"], *lines]))
            if wanted(message):
                return message

    def ms(self) -> float:
        """Return the milliseconds from the launch of the sidecar to the last message."""
        return 1000 * (self._at - self._launched)


def be_the_app(order: str) -> int:
    """Play the app: launch the sidecar over pipes, act as its client, and relay its messages to the demo."""
    wish = json.loads(order)
    service = {"type": "vite", "root": wish["project"], "readyTimeoutMs": int(1000 * STEP_S)}
    service["port"] = {"preferred": wish["port"]}
    hello = {"protocolVersion": 1, "client": {"name": "demo"}, "services": {SERVICE: service}}
    requests = ((INITIALIZE, "initialize", hello), (START, "start", {"service": SERVICE}))
    binary = os.environ.get("SIDECAR_BINARY")
    command = [str(Path(binary).resolve())] if binary else [sys.executable, "-c", MAIN, str(ROOT)]
    launched = time.perf_counter()
    sidecar = subprocess.Popen([*command, "stdio"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=0)
    # send our own pid: on Windows .venv's python.exe starts the real Python, and our parent knows only the former's pid
    say(app=os.getpid(), launched=launched, pid=sidecar.pid)
    threading.Thread(target=leave_with_stdin, daemon=True).start()
    if sidecar.stdin is None or sidecar.stdout is None:
        return 1
    for number, method, params in requests:
        request = {"jsonrpc": "2.0", "id": number, "method": method, "params": params}
        sidecar.stdin.write(json.dumps(request).encode() + b"\n")
    for line in sidecar.stdout:
        say(at=time.perf_counter(), message=json.loads(line))
    return sidecar.wait()


def say(**what: object) -> None:
    """Print a JSON object on a line, for ``App``."""
    print(json.dumps(what), flush=True)
