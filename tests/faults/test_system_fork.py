"""A fork that fails, by the kernel: for want of memory (ENOMEM), or of room in a control group (EAGAIN).

It is said, nothing is lost of what runs, nothing is left, and a later start works.
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
    """What measures coverage in a sidecar needs processes, too, and has words of its own without them."""
    for name in ("COVERAGE_PROCESS_START", "COVERAGE_PROCESS_CONFIG"):
        monkeypatch.delenv(name, raising=False)


def refusal(it: Direct, name: str) -> str | None:
    """Why it cannot be started: it is its limits, and nothing else. ``None`` if it did start."""
    error: Refused | None = None
    try:
        it.client.call("start", service=name)
    except Refused as refused:
        error = refused
    if error is None:
        return None
    assert error.kind in {"ProcessSpawnFailed", "SystemFailure"}
    assert "limit" in error.message
    assert "namespace" not in error.message, "that is not what it lacks"
    return error.message


def ends_whole(it: Direct) -> None:
    """Let go of it; nothing is left, and there was no trace of a fault of ours."""
    it.let_go(it.stdin)
    assert it.exit_code() == 3
    assert "Traceback" not in it.stderr.read_text()
    until(lambda: not marked(it.roll.name), "the end of all that has the roll's mark")


# ── memory ────────────────────────────────────────────────────────────────────────────────────────────────────────────


@namespaces
@pytest.mark.skipif(BINARY is not None, reason="the bootloader has words of its own")
def test_a_sidecar_that_gets_no_memory_for_its_guard_says_so_and_leaves_nothing(tmp_path: Path) -> None:
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
def test_a_service_that_gets_no_memory_for_its_fork_is_refused_and_the_others_live_on(
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


# ── a control group's room ────────────────────────────────────────────────────────────────────────────────────────────


class Room:
    """A control group that counts processes and threads (pids.max), of either version."""

    def __init__(self, folder: Path, group: str | None) -> None:
        """``group`` is the one of version 2 that a sidecar is to be in."""
        self.folder = folder
        self.group = group

    def limit(self, most: str) -> None:
        """So many may be in it; those that are more already stay."""
        (self.folder / "pids.max").write_text(most)

    def used(self) -> int:
        """So many are in it."""
        return int((self.folder / "pids.current").read_text())

    def join(self) -> None:
        """What a sidecar's process does before it is one."""
        (self.folder / "cgroup.procs").write_text("0")


@contextmanager
def room() -> Iterator[Room]:
    """One for a test, removed at its end."""
    with control_group(divisible=True) as group:
        if group is not None and Path(group, "pids.max").exists():
            yield Room(Path(group), group)
            return
        folder = _first_version() / f"sidecar-tests-{os.urandom(6).hex()}"
        try:
            folder.mkdir()
        except OSError as error:
            pytest.skip(f"no control group that counts processes can be made here: {error.strerror}")
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
        pytest.skip("there are no control groups that count processes, or not ours to divide")
    return Path(point + own)


def _remove(folder: Path) -> bool:
    try:
        folder.rmdir()
    except OSError:
        return False  # EBUSY: a process is still being buried
    return True


@pytest.mark.skipif(BINARY is not None, reason="the bootloader has needs, and words, of its own")
def test_with_little_room_in_its_group_it_refuses_or_runs_and_always_ends_all(tmp_path: Path) -> None:
    """At every place where it wants a process or a thread."""

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
def test_a_service_that_finds_no_room_is_refused_the_others_live_on_and_later_it_starts(
    tmp_path: Path, isolation: str
) -> None:
    if isolation != "none" and not can("--pid", "--fork"):
        pytest.skip("a pid namespace cannot be made here")
    services: Message = {"plain": service("plain"), "daemon": {**service("daemon"), "isolation": isolation}}
    with room() as it_has, Direct(tmp_path, before_exec=it_has.join, group=it_has.group) as it:
        it.client.hello(services)
        it.client.start_all({"plain": None})
        it.roll.await_living("plain", SIZES["plain"])
        reasons: list[str] = []
        for more in range(ENOUGH):  # a place for each process and thread that a start wants, one after the other
            it_has.limit(str(it_has.used() + more))
            reason = refusal(it, "daemon")
            if reason is None:
                break
            reasons.append(reason)
            it.roll.prove_alive("plain")
            assert it.client.status("plain")["state"] == "ready"
        assert any("no thread to spare" in it for it in reasons)
        # its own fork takes the place of a thread that was needed before; a namespace takes three processes
        assert isolation == "none" or any("Resource temporarily unavailable" in it for it in reasons)
        it_has.limit("max")
        it.client.call("stop", service="daemon")  # what it wants to start itself found no room
        it.client.call("start", service="daemon")
        it.roll.await_living("daemon", SIZES["daemon"])
        ends_whole(it)
