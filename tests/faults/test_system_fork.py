"""The kernel refuses a fork, for lack of memory (ENOMEM) or because of a control group's pids.max (EAGAIN).

The sidecar reports that, running services go on, nothing is left, and a later start works.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

if sys.platform != "linux":
    pytest.skip("pid namespaces and control groups", allow_module_level=True)

from tests.children.trees import SIZES
from tests.faults.cell import CHILDREN, service
from tests.faults.direct import Direct
from tests.faults.test_system_limits import CANNOT_START, ENOUGH, refuses_or_runs
from tests.faults.test_system_surroundings import can
from tests.support.command import BINARY, Message, Refused, from_source
from tests.support.liveness import control_group, marked
from tests.support.waiting import until

NOFORK = CHILDREN / "nofork"

namespaces = pytest.mark.skipif(
    os.geteuid() != 0 or not can("--pid", "--fork"), reason="a pid namespace cannot be made here"
)


@pytest.fixture(autouse=True)
def unmeasured(monkeypatch: pytest.MonkeyPatch) -> None:
    """Switch off coverage in the sidecar: it also needs processes, and prints its own errors without them."""
    for name in ("COVERAGE_PROCESS_START", "COVERAGE_PROCESS_CONFIG"):
        monkeypatch.delenv(name, raising=False)


def refusal(it: Direct, name: str) -> str | None:
    """Start the service; return the error message, which must blame a limit. ``None`` if it did start."""
    error: Refused | None = None
    try:
        it.client.call("start", service=name)
    except Refused as refused:
        error = refused
    if error is None:
        return None
    assert error.kind in {"ProcessSpawnFailed", "SystemFailure"}
    assert "limit" in error.message
    assert "namespace" not in error.message, "namespaces are not the cause"
    return error.message


def ends_whole(it: Direct) -> None:
    """Close stdin. Assert that the sidecar ends without a traceback, and that nothing is left."""
    it.let_go(it.stdin)
    assert it.exit_code() == 3
    assert "Traceback" not in it.stderr.read_text()
    until(lambda: not marked(it.roll.name), "the end of all processes with the roll call in their environment")


# ── memory ────────────────────────────────────────────────────────────────────────────────────────────────────────────


@namespaces
@pytest.mark.skipif(BINARY is not None, reason="the bootloader prints its own error")
def test_without_memory_for_the_guard_it_says_so_and_leaves_nothing(tmp_path: Path) -> None:
    prefix = (sys.executable, "-I", "-S", str(NOFORK / "sitecustomize.py"))
    with Direct(tmp_path, prefix=prefix) as it:
        assert it.exit_code() == CANNOT_START
        said = it.stderr.read_text()
        assert "Cannot allocate memory" in said
        assert "free some memory" in said
        assert "Traceback" not in said
        assert not marked(it.roll.name)


@namespaces
@from_source
@pytest.mark.parametrize("isolation", ["none", "pidNamespace"])
def test_service_without_memory_to_fork_is_refused_and_others_live_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, isolation: str
) -> None:
    switch = tmp_path / "no fork"
    monkeypatch.setenv("PYTHONPATH", str(NOFORK))
    monkeypatch.setenv("NO_FORK", str(switch))
    services = {"plain": service("plain"), "daemon": {**service("daemon"), "isolation": isolation}}
    with Direct(tmp_path) as it:
        it.client.hello(services)
        it.client.start_all({"plain": None})
        it.roll.await_living("plain", SIZES["plain"])
        switch.touch()
        for _turn in range(2):
            assert "Cannot allocate memory" in (refusal(it, "daemon") or "")
        it.roll.prove_alive("plain")
        assert it.client.status("plain")["state"] == "ready"
        switch.unlink()
        it.client.call("start", service="daemon")
        it.roll.await_living("daemon", SIZES["daemon"])
        ends_whole(it)


# ── a control group's pids.max ────────────────────────────────────────────────────────────────────────────────────────


class Room:
    """A control group, v1 or v2, that limits processes and threads (pids.max)."""

    def __init__(self, folder: Path, group: str | None) -> None:
        """Control group v2 ``group`` is the one to launch the sidecar in."""
        self.folder = folder
        self.group = group

    def limit(self, most: str) -> None:
        """Set the limit. Processes and threads that already exceed it stay."""
        (self.folder / "pids.max").write_text(most)

    def used(self) -> int:
        """Return the number of processes and threads in the group."""
        return int((self.folder / "pids.current").read_text())

    def join(self) -> None:
        """Move the calling process into the group; for ``before_exec``."""
        (self.folder / "cgroup.procs").write_text("0")


@contextmanager
def room() -> Iterator[Room]:
    """Make a group for one test, and remove it at the end."""
    with control_group(divisible=True) as group:
        if group is not None and Path(group, "pids.max").exists():
            yield Room(Path(group), group)
            return
        folder = _first_version() / f"sidecar-tests-{os.urandom(6).hex()}"
        try:
            folder.mkdir()
        except OSError as error:
            pytest.skip(f"cannot make a control group with pids.max here: {error.strerror}")
        try:
            yield Room(folder, group)
        finally:
            until(lambda: _remove(folder), f"the end of the control group {folder}")


def _first_version() -> Path:
    mounts = (line.split(" ") for line in Path("/proc/self/mountinfo").read_text().splitlines() if " - cgroup " in line)
    point = next((fields[4] for fields in mounts if "pids" in fields[-1].split(",")), None)
    paths = (line.split(":", 2) for line in Path("/proc/self/cgroup").read_text().splitlines())
    own = next((path for _, names, path in paths if "pids" in names.split(",")), None)
    if point is None or own is None:
        pytest.skip("no delegated control group with pids.max here")
    return Path(point + own)


def _remove(folder: Path) -> bool:
    try:
        folder.rmdir()
    except OSError:
        return False  # EBUSY: a dead process has not been reaped yet
    return True


@pytest.mark.skipif(BINARY is not None, reason="the bootloader needs processes too, and prints its own errors")
def test_in_a_nearly_full_group_it_refuses_or_runs_and_ends_all(tmp_path: Path) -> None:
    """Each number of free places makes another fork or thread fail."""

    @contextmanager
    def with_room_for(most: int) -> Iterator[Direct]:
        folder = tmp_path / str(most)
        folder.mkdir()
        with room() as it_has, Direct(folder, before_exec=_within(it_has, most), group=it_has.group) as it:
            yield it

    refuses_or_runs(with_room_for)


def _within(it_has: Room, most: int) -> Callable[[], None]:
    def before_exec() -> None:
        it_has.join()
        it_has.limit(str(most))

    return before_exec


@pytest.mark.parametrize("isolation", ["none", "pidNamespace"])
def test_service_refused_for_want_of_processes_starts_later(tmp_path: Path, isolation: str) -> None:
    """The other service lives on."""
    if isolation != "none" and not can("--pid", "--fork"):
        pytest.skip("a pid namespace cannot be made here")
    services: Message = {"plain": service("plain"), "daemon": {**service("daemon"), "isolation": isolation}}
    with room() as it_has, Direct(tmp_path, before_exec=it_has.join, group=it_has.group) as it:
        it.client.hello(services)
        it.client.start_all({"plain": None})
        it.roll.await_living("plain", SIZES["plain"])
        reasons: list[str] = []
        for more in range(ENOUGH):  # one more place each time, so each process and thread of a start is refused once
            it_has.limit(str(it_has.used() + more))
            reason = refusal(it, "daemon")
            if reason is None:
                break
            reasons.append(reason)
            it.roll.prove_alive("plain")
            assert it.client.status("plain")["state"] == "ready"
        assert any("no thread to spare" in it for it in reasons)
        # without isolation the only fork uses the place of a thread that has ended, so it never fails
        assert isolation == "none" or any("Resource temporarily unavailable" in it for it in reasons)
        it_has.limit("max")
        it.client.call("stop", service="daemon")  # its own children may have been refused
        it.client.call("start", service="daemon")
        it.roll.await_living("daemon", SIZES["daemon"])
        ends_whole(it)
