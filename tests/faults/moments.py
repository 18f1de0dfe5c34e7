"""Bring a cell to the moment at which its victims are hit, without a hook in the sidecar.

The means are files whose openers block (``Held``), and services that never get ready or never stop.
"""

from __future__ import annotations

import os
import signal
import sys
from contextlib import ExitStack
from pathlib import Path
from typing import Self

if sys.platform != "linux":
    raise ImportError("pidfds and control groups are Linux's")

from tests.children.trees import SIZES
from tests.faults import vite
from tests.faults.cell import ALL_TREES, VITE, Cell, service
from tests.faults.held import Held
from tests.faults.place import Place
from tests.faults.plans import EVERY, GROUP, Plan
from tests.support.command import Message
from tests.support.liveness import RollCall, open_pidfd, send

NEVER_MS = 86_000_000
"""Longer than any test run."""
SOON_MS = 100
"""Stop timeout of trees that ignore the stop signal: they are killed after it."""

DEAF = ["/bin/sh", "-c", 'trap "" TERM; exec "$@"', "sh"]
"""A command prefix that ignores SIGTERM. That survives exec, and children inherit it."""


class Scene:
    """A cell at its moment, and decoys, which must not be harmed. Leaving the context ends all of them."""

    cell: Cell

    def __init__(self, plan: Plan, place: Place, folder: Path) -> None:
        """Launch, and bring the cell to the plan's moment. ``folder`` belongs to this cell."""
        self._plan = plan
        self._place = place
        self._folder = folder
        self._held: Held | None = None
        self.tree = "plain" if plan.tree == EVERY else plan.tree
        """The tree that is restarted, stopped, or hit."""
        self.before: Cell | None = None
        """An earlier run, all of whose processes were killed. This run sweeps what is left of it."""
        with ExitStack() as stack:
            self._stack = stack
            self.decoys = stack.enter_context(RollCall())
            {
                "before initialize": self._before_initialize,
                "sweeping": self._sweeping,
                "choosing a port": self._choosing_a_port,
                "before exec": self._before_exec,
                "starting": self._starting,
                "ready": self._ready,
                "dependency starting": self._dependency_starting,
                "task running": self._task_running,
                "restarting": self._restarting,
                "stopping": self._stopping,
            }[plan.moment]()
            self._stack = stack.pop_all()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def pass_by(self) -> None:
        """Release the held file: the sidecar goes on."""
        if self._held is not None:
            self._held.release()

    def root(self) -> int:
        """Return a pidfd of the tree's root."""
        pidfd = open_pidfd(self.cell.client.status(self.tree)["pid"])
        assert pidfd is not None
        self._stack.callback(os.close, pidfd)
        return pidfd

    def prove_decoys_unharmed(self) -> None:
        """Assert that all decoys live and answer."""
        self.decoys.prove_alive("decoy")
        assert len(self.decoys.living()) == self._decoys

    # ── the moments ──────────────────────────────────────────────────────────────────────────────────────────────────

    def _before_initialize(self) -> None:
        self._launch(self._services(), greet=False)

    def _sweeping(self) -> None:
        services = {self.tree: service(self.tree)}
        before = Cell(self._place.folder, (), services=services, group=self._place.group)
        self.before = self._stack.enter_context(before)
        ours = [name for name in reversed(before.pids) if name != "app"]
        # stop all first, or one that sees another die would begin to clean up; kill the guard late, as its death wakes
        # the supervisor
        before.grow().strike(*((name, signal.SIGSTOP) for name in ours), *((name, signal.SIGKILL) for name in ours))
        before.await_ours_gone()
        [record] = [it for it in before.traces() - self._place.traces if it.endswith(".json")]
        self._hold(Path(record))
        self._launch({"plain": service("plain")})
        self.cell.client.send("start", service="plain")
        self._await_opener()

    def _choosing_a_port(self) -> None:
        self._launch({self.tree: self._service(self.tree), "listener": service("listener", port={"sticky": True})})
        self.cell.client.start_all({self.tree: None})
        ports = self._place.folder / "state" / "ports.json"
        ports.write_text("{}")
        self._hold(ports)
        self.cell.client.send("start", service="listener")
        self._await_opener()

    def _before_exec(self) -> None:
        program = self._folder / "program"
        program.write_text('#!/bin/sh\nexec "$@"\n')
        program.chmod(0o700)
        tree = self._service(self.tree)
        self._launch({self.tree: {**tree, "command": [str(program), *tree["command"]]}})
        self._hold(program)
        self.cell.client.send("start", service=self.tree)
        self._await_opener()

    def _starting(self) -> None:
        never: Message = {"ready": {"type": "log", "pattern": "never"}}
        services = self._services(readyTimeoutMs=NEVER_MS)
        self._launch({kind: it if kind == VITE else {**it, **never} for kind, it in services.items()})
        for name in self.cell.services:
            self.cell.client.send("start", service=name)
        self.cell.await_whole()

    def _dependency_starting(self) -> None:
        self._waited_for(ready={"type": "log", "pattern": "never"})

    def _task_running(self) -> None:
        self._waited_for(type="task")

    def _waited_for(self, **more: object) -> None:
        """Keep the tree starting. A second service waits for it, and has no process yet."""
        first = {**self._service(self.tree, readyTimeoutMs=NEVER_MS), **more}
        second = service("plain", dependsOn=[self.tree])
        self._launch({self.tree: first, "plain": second})
        self.cell.client.send("start", service="plain")
        self.cell.client.note("service/state", service="plain", state="starting", waitingFor=[self.tree])
        self.cell.roll.await_living(self.tree, SIZES[self.tree])
        assert not self.cell.roll.living("plain"), "it was launched before what it depends on was ready"

    def _ready(self) -> None:
        self._launch(self._services())
        self.cell.grow()

    def _restarting(self) -> None:
        at_once = {"policy": "always", "backoff": {"initialMs": 1, "maxMs": 1}}
        self._launch(self._services(restart=at_once))
        self.cell.grow()
        send(self.root(), signal.SIGKILL)
        self.cell.client.note("service/restarting", service=self.tree)

    def _stopping(self) -> None:
        services = self._services()
        tree = services[self.tree]
        deaf = {} if self.tree == VITE else {"command": [*DEAF, *tree["command"]]}
        services[self.tree] = {**tree, **deaf, "stop": {"timeoutMs": NEVER_MS}}
        self._launch(services)
        self.cell.grow()
        self.cell.client.send("stop", service=self.tree)
        self.cell.client.note("service/state", service=self.tree, state="stopping")

    # ── what they share ──────────────────────────────────────────────────────────────────────────────────────────────

    def _service(self, kind: str, **more: object) -> Message:
        stop = {"timeoutMs": SOON_MS}
        if kind == VITE:
            return vite.service(self._project(), self._plan.moment, stop=stop, **more)
        return service(kind, stop=stop, **more)

    def _project(self) -> Path:
        folder = self._folder / "project"
        return folder if folder.exists() else vite.project(folder)

    def _services(self, **more: object) -> Message:
        """Return the plan's tree, and a listener, which has a port."""
        kinds = ALL_TREES if self._plan.tree == EVERY else dict.fromkeys((self.tree, "listener"))
        return {kind: {**self._service(kind), **more} for kind in kinds}

    def _launch(self, services: Message, *, greet: bool = True) -> None:
        near = self._plan.victims != (GROUP,)
        self.cell = self._stack.enter_context(
            Cell(
                self._place.folder,
                (),
                services=services,
                group=self._place.group,
                decoys=self.decoys,
                decoy=vite.command(self._project()) if self.tree == VITE else None,
                near=near,
                greet=greet,
                beside=self._place.traces,
            )
        )
        self._decoys = 1 + near
        self.decoys.await_living("decoy", self._decoys)

    def _hold(self, path: Path) -> None:
        self._held = self._stack.enter_context(Held(path))

    def _await_opener(self) -> None:
        assert self._held is not None
        self._held.await_opener()
