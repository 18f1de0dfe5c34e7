"""A sidecar launched by the test itself, which plays the app: for stops, bad clients and exit codes."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Self

if sys.platform != "linux":
    raise ImportError("pidfds and control groups are Linux's")

from tests.faults.cell import CHILDREN, ROOT
from tests.support.client import Client
from tests.support.command import SIDECAR, Message
from tests.support.liveness import LIFE_S, RollCall, await_end, control_group
from tests.support.waiting import WAIT_S


def program(*words: str, **more: object) -> Message:
    """Return a service that does what the words say (tests/children/program.py)."""
    command = [sys.executable, "-I", "-S", str(CHILDREN / "program.py"), *words]
    return {"type": "command", "command": command, "restart": {"policy": "never"}, **more}


class Direct:
    """A sidecar on two pipes, in its own control group, with a roll call for its trees."""

    def __init__(
        self,
        folder: Path,
        *options: str,
        prefix: Sequence[str] = (),
        before_exec: Callable[[], None] | None = None,
        group: str | None = None,
        sidecar: Sequence[str] = SIDECAR,
    ) -> None:
        """Launch it: ``prefix`` precedes its command line, ``before_exec`` runs in the forked child.

        ``group`` is an existing control group to join instead of a new one.
        """
        self._stack = ExitStack()
        self.stderr = folder / "stderr"
        unpacked = folder / "unpacked"  # the same layout as a Cell's
        unpacked.mkdir(exist_ok=True)
        with self._stack:
            group = group or self._stack.enter_context(control_group(divisible=True))
            self.roll = self._stack.enter_context(RollCall())
            inward, self.stdin = os.pipe()
            self.stdout, outward = os.pipe()
            self._ours = {self.stdin, self.stdout}
            self._stack.callback(self.let_go, self.stdin, self.stdout)

            def enter() -> None:
                if group is not None:
                    with open(f"{group}/cgroup.procs", "w", encoding="ascii") as file:
                        file.write("0")
                if before_exec is not None:
                    before_exec()

            with self.stderr.open("wb") as sink:
                self.process = subprocess.Popen(
                    [*prefix, *sidecar, *options],
                    cwd=ROOT,
                    env={
                        **os.environ,
                        **self.roll.env,
                        "SIDECAR_STATE_DIR": str(folder / "state"),
                        "TMPDIR": str(unpacked),
                    },
                    stdin=inward,
                    stdout=outward,
                    stderr=sink,
                    start_new_session=True,
                    preexec_fn=enter,  # noqa: PLW1509  safe: the test has only one thread
                )
            os.close(inward)
            os.close(outward)
            self._stack.callback(self._end)
            self.client = Client(self.stdin, self.stdout)
            self._stack = self._stack.pop_all()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def let_go(self, *fds: int) -> None:
        """Close our ends of these pipes."""
        for fd in self._ours & set(fds):
            os.close(fd)
        self._ours -= set(fds)

    def _end(self) -> None:
        self.let_go(self.stdin)
        if self.process.poll() is None:
            self.process.kill()  # not reaped yet, so the pid is not reused; leaving the control group kills the rest
            self.process.wait(WAIT_S)

    def serve(self, services: Message) -> Self:
        """Initialize, and start all services."""
        self.client.hello(services)
        self.client.start_all(services)
        return self

    def exit_code(self) -> int:
        """Wait for the sidecar's end, assert that no tree is alive, and return the exit code."""
        pidfd = os.pidfd_open(self.process.pid)
        try:
            await_end(pidfd, "the sidecar")
        finally:
            os.close(pidfd)
        self.roll.await_dead()
        return self.process.wait()


__all__ = ["LIFE_S", "Direct", "program"]
