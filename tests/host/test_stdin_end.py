"""What macOS's supervisor does if its loop still runs long after stdin has ended."""

from __future__ import annotations

import os
import sys
from types import SimpleNamespace
from typing import Any

import pytest

if sys.platform == "win32":
    pytest.skip("there is no guard on Windows", allow_module_level=True)

from sidecar.exit_codes import EXIT_APP_GONE
from sidecar.host.darwin import guard, session
from sidecar.host.darwin.lineage import Process
from sidecar.host.posix.lifeline import Lifeline


@pytest.mark.parametrize("stopped", [0, 3])
def test_the_tree_is_left_to_the_guard_once_that_is_not_stopped(monkeypatch: pytest.MonkeyPatch, stopped: int) -> None:
    """On a busy machine the loop may exceed its time while the guard is stopped, and a stopped guard kills nothing."""
    parent = os.getppid()

    def seen(*, stopped: bool) -> Process:
        return Process(parent, 1, forker=0, ppid=1, sid=1, stopped=stopped)

    looks = iter([*[seen(stopped=True)] * stopped, seen(stopped=False)])
    system: Any = SimpleNamespace(read=lambda _: next(looks))
    pauses: list[float] = []
    monkeypatch.setattr(session, "time", SimpleNamespace(sleep=pauses.append))
    monkeypatch.setattr(session, "os", SimpleNamespace(_exit=sys.exit, getppid=os.getppid))
    lifeline = Lifeline(parent, signals=-1, orders=-1, app=None, bootloader=None)
    events: Any = None
    with pytest.raises(SystemExit) as end:
        session.DarwinSession(system, events, lifeline, guard.Watched(None, None), "").read_stdin(lambda: None)
    assert end.value.code == EXIT_APP_GONE
    assert pauses == [session.WEDGED_S, *[session.GLANCE_S] * stopped]
    assert not list(looks), "it must check the guard after each pause"
