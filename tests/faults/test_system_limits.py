"""With too few descriptors or processes, or too little memory, the sidecar says so, leaves nothing, and works on."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

import pytest

if sys.platform != "linux":
    pytest.skip("limits as Linux counts them, and control groups", allow_module_level=True)

import resource

from sidecar.errors import PortUnavailableError
from sidecar.host.linux import orphans, processes
from sidecar.services.ports import PortAllocator, PortRequest
from sidecar.state.run_record import Identity
from tests.children.trees import SIZES
from tests.faults.cell import Cell, service
from tests.faults.direct import Direct, program
from tests.support.command import BINARY, Message, Refused
from tests.support.liveness import marked
from tests.support.waiting import until

CANNOT_START = 71

NOBODY = "54321"
"""A user that only tests have."""

COUNTED = "54322"
"""A user that only one test has. It limits the number of processes, and the kernel counts all of a user's."""


def as_user(user: str) -> tuple[str, ...]:
    """Return the words before a command that run it as this user, without root's rights."""
    return (
        *("setpriv", f"--reuid={user}", f"--regid={user}", "--clear-groups"),
        # two capabilities of root, to read a checkout in root's home; they do not lift limits
        *("--inh-caps=-all,+dac_override,+dac_read_search", "--ambient-caps=-all,+dac_override,+dac_read_search"),
    )


AS_NOBODY = as_user(NOBODY)

only_root = pytest.mark.skipif(
    os.geteuid() != 0 or shutil.which("setpriv") is None, reason="needs root and setpriv to become another user"
)


@pytest.fixture(autouse=True)
def unmeasured(monkeypatch: pytest.MonkeyPatch) -> None:
    """Switch off coverage in the sidecar: it also needs descriptors and memory, and prints its own errors."""
    for name in ("COVERAGE_PROCESS_START", "COVERAGE_PROCESS_CONFIG"):
        monkeypatch.delenv(name, raising=False)


def limit(which: int, to: int) -> Callable[[], None]:
    """Return a function for ``before_exec`` that sets the limit."""
    return lambda: resource.setrlimit(which, (to, to))


def shell(script: str) -> Message:
    """Return a service that any user can start."""
    return {"type": "command", "command": ["/bin/sh", "-c", script], "cwd": "/", "restart": {"policy": "never"}}


def started(it: Direct, services: Message) -> list[str]:
    """Start one service after the other; return those that started. Each error must blame a limit."""
    good = []
    reasons = []
    for name in services:
        try:
            it.client.call("start", service=name)
            good.append(name)
        except Refused as refused:
            reasons.append((refused.kind, "limit" in refused.message))
    assert set(reasons) <= {("ProcessSpawnFailed", True), ("SystemFailure", True)}
    return good


def hardly_runs(it: Direct, services: Message) -> list[str] | None:
    """Check a sidecar with too little. Return the services that started, or ``None`` if the sidecar did not."""
    try:
        it.client.hello(services)
    except AssertionError:
        assert it.client.ended
        assert it.exit_code() == CANNOT_START
        said = it.stderr.read_text()
        assert "raise the limit" in said.lower()
        assert "Traceback" not in said
        return None
    good = started(it, services)
    assert {name for name, one in it.client.call("status")["services"].items() if one["state"] == "ready"} == set(good)
    it.let_go(it.stdin)
    assert it.exit_code() == 3
    assert "Traceback" not in it.stderr.read_text()
    until(lambda: not marked(it.roll.name), "the end of all processes with the roll call in their environment")
    return good


# ── descriptors ───────────────────────────────────────────────────────────────────────────────────────────────────────

FEWEST = 5
"""Python itself does not start with fewer."""

ENOUGH = 40


@pytest.mark.skipif(BINARY is not None, reason="the bootloader needs descriptors too, and prints its own errors")
def test_with_few_descriptors_it_refuses_or_runs_and_always_ends_all(tmp_path: Path) -> None:
    services = {"plain": service("plain"), "daemon": service("daemon")}
    seen = []
    for most in range(FEWEST, ENOUGH):
        folder = tmp_path / str(most)
        folder.mkdir()
        with Direct(folder, before_exec=limit(resource.RLIMIT_NOFILE, most)) as it:
            seen.append(hardly_runs(it, services))
        if seen[-1] == ["plain", "daemon"]:
            break
    assert None in seen
    assert [] in seen
    assert seen[-1] == ["plain", "daemon"]


@pytest.mark.skipif(BINARY is not None, reason="the bootloader needs descriptors too")
def test_service_without_descriptors_starts_once_another_has_stopped(tmp_path: Path) -> None:
    services = {"plain": service("plain"), "daemon": service("daemon")}
    for most in range(FEWEST, ENOUGH):
        folder = tmp_path / str(most)
        folder.mkdir()
        with Direct(folder, before_exec=limit(resource.RLIMIT_NOFILE, most)) as it:
            try:
                it.client.hello(services)
            except AssertionError:
                continue  # too few for the sidecar itself
            if started(it, {"plain": None}):
                it.roll.await_living("plain", SIZES["plain"])
                assert started(it, {"daemon": None}) == []
                it.client.call("stop", service="plain")
                it.roll.await_dead("plain")
                # the record writer uses a descriptor for a moment: a start in that moment is refused, the next is not
                until(lambda: started(it, {"daemon": None}), "a start once there is room")
                it.roll.await_living("daemon", SIZES["daemon"])
                it.let_go(it.stdin)
                assert it.exit_code() == 3
                return
    pytest.fail("the first service never started")


@contextmanager
def no_descriptor_to_spare() -> Iterator[None]:
    """Make each open in this process fail with EMFILE."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (0, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_a_process_that_cannot_be_read_for_lack_of_descriptors_is_not_dead() -> None:
    me = processes.read_process(os.getpid())
    assert me is not None
    with no_descriptor_to_spare():
        for look in (
            lambda: processes.read_process(os.getpid()),
            processes.all_processes,
            lambda: processes.environment(os.getpid()),
            lambda: orphans.lives(Identity(me.pid, me.start)),
        ):
            with pytest.raises(OSError, match="Too many open files"):
                look()
    assert orphans.lives(Identity(me.pid, me.start))


def test_a_kill_retries_until_it_can_list_the_processes() -> None:
    looks: Iterator[Any] = iter([OSError(23, "ENFILE"), OSError(24, "EMFILE"), OSError(12, "ENOMEM"), []])

    def look() -> Any:
        found = next(looks)
        if isinstance(found, OSError):
            raise found
        return found

    assert processes.kill_until_empty(look) == []
    assert next(looks, "all were asked") == "all were asked"


def test_a_port_that_cannot_be_checked_is_not_called_taken() -> None:
    """Otherwise the page would move to another origin, or the user would be told to correct a right host."""
    book = PortAllocator(lambda _port: None)
    wish = PortRequest(host="127.0.0.1", preferred=5999, current=None, last=lambda: None, keep=True)
    with no_descriptor_to_spare(), pytest.raises(PortUnavailableError, match=r"Too many open files\. Raise"):
        book.choose("web", wish)


def test_a_kill_raises_any_other_error_of_listing() -> None:
    def look() -> Any:
        raise OSError(5, "EIO")

    with pytest.raises(OSError, match="EIO"):
        processes.kill_until_empty(look)


@pytest.mark.skipif(BINARY is not None, reason="the bootloader needs descriptors too")
def test_a_start_with_few_descriptors_takes_no_living_run_for_a_dead_one(tmp_path: Path) -> None:
    with Cell(tmp_path, ("plain", "daemon"), contained=False) as living:
        living.grow()
        for most in range(FEWEST, FEWEST + 12):
            with Direct(tmp_path, before_exec=limit(resource.RLIMIT_NOFILE, most), group=living.group) as it:
                hardly_runs(it, {"it": program("hold")})
        for kind in ("plain", "daemon"):
            living.roll.prove_alive(kind)
        assert [it.suffix for it in (tmp_path / "state" / "runs").iterdir()] == [".json"], "its record is untouched"


# ── processes and threads ─────────────────────────────────────────────────────────────────────────────────────────────


def refuses_or_runs(with_room_for: Callable[[int], AbstractContextManager[Direct]]) -> None:
    """Allow one more process or thread each time, until all services start. Each stage before that must occur."""
    services = {"first": shell("exec sleep 100"), "second": shell("exec sleep 100")}
    seen = []
    for most in range(1, ENOUGH):
        with with_room_for(most) as it:
            seen.append(hardly_runs(it, services))
        if seen[-1] == ["first", "second"]:
            break
    assert None in seen
    assert [] in seen
    assert seen[-1] == ["first", "second"]


@only_root
@pytest.mark.skipif(BINARY is not None, reason="the bootloader needs processes too, and prints its own errors")
def test_with_few_processes_it_refuses_or_runs_and_always_ends_all(tmp_path: Path) -> None:
    """Each number of allowed processes makes another fork or thread fail."""

    @contextmanager
    def with_room_for(most: int) -> Iterator[Direct]:
        folder = tmp_path / str(most)
        folder.mkdir(mode=0o777)
        with Direct(folder, before_exec=limit(resource.RLIMIT_NPROC, most), prefix=as_user(COUNTED)) as it:
            yield it

    refuses_or_runs(with_room_for)


# ── memory ────────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("megabytes", [50, 60, 70, 80, 90, 100, 120, 200])
def test_with_little_memory_whatever_comes_of_it_nothing_is_left(tmp_path: Path, megabytes: int) -> None:
    """In an address space this small, a thread or a Python object can be refused anywhere."""
    services = {"plain": service("plain"), "daemon": service("daemon")}
    with Direct(tmp_path, before_exec=limit(resource.RLIMIT_AS, megabytes << 20)) as it:
        try:
            it.client.hello(services)
            for name in services:
                it.client.call("start", service=name)
        except (AssertionError, Refused):
            pass  # it may end or refuse; it may not leave processes
        it.let_go(it.stdin)
        it.exit_code()
        until(lambda: not marked(it.roll.name), "the end of all processes with the roll call in their environment")
