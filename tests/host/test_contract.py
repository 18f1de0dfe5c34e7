"""What every host must do: the real one, in a process of its own, and the fake."""

from __future__ import annotations

import os
import select
import socket
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

if sys.platform != "linux":
    pytest.skip("there is no other real host yet", allow_module_level=True)

from sidecar.errors import ProcessSpawnFailedError
from sidecar.events import Launch
from sidecar.host.base import Child, Ended, Host
from sidecar.wire.messages import Holder
from tests.fakes import PROGRAM, FakeHost
from tests.host.served import RealHost
from tests.liveness import state_of, until

WAIT_S = 30.0
SCRIPT = Path(__file__).resolve().parents[1] / "children" / "program.py"


class Subject:
    """A host, and what a test needs to know about its kind."""

    def __init__(self, host: FakeHost | RealHost) -> None:
        self.host: Host = host
        self._kind = host
        self._open: list[int] = []
        self._sockets: list[socket.socket] = []

    def spawn(self, *words: str, service: str = "web") -> Child:
        """Start the program with these words."""
        real = (sys.executable, "-I", "-S", str(SCRIPT))
        argv = (*real, *words) if isinstance(self._kind, RealHost) else (PROGRAM, *words)
        child = self.host.spawn(service, Launch(argv, "/", {"GIVEN": "1"}))
        self._open += [child.stdout, child.stderr]
        return child

    def line(self, fd: int) -> str:
        """The next line of output."""
        data = b""
        while not data.endswith(b"\n"):
            data += self._read(fd, 1)
        return data.decode().rstrip("\n")

    def rest(self, fd: int) -> str:
        """All output to its end, which comes when the last of the tree is dead: each has the pipe."""
        data = b""
        while more := self._read(fd, 4096):
            data += more
        return data.decode()

    def _read(self, fd: int, size: int) -> bytes:
        assert select.select([fd], [], [], WAIT_S)[0], "there is neither output nor its end"
        return os.read(fd, size)

    def await_death(self, child: Child) -> None:
        """Until the program itself (not all of its tree) is dead, whether that was collected or not."""
        if isinstance(self._kind, RealHost):
            until(lambda: state_of(child.pid) in ("Z", ""), "its death")

    def ended(self) -> list[Ended]:
        """What ``reap`` gives once it gives something."""
        while not (ended := self.host.reap()):
            if isinstance(self._kind, RealHost):
                self._kind.await_child_signal()
        return ended

    def stranger(self, address: str, port: int = 0) -> int:
        """Somebody else listens; its port."""
        if isinstance(self._kind, FakeHost):
            port = port or 4000
            self._kind.foreign[address, port] = Holder(77, "somebody else", "fake", ours=False)
            return port
        listener = socket.create_server((address, port))
        self._sockets.append(listener)
        return int(listener.getsockname()[1])

    def descriptors(self) -> int:
        """How many descriptors the host's process has."""
        kind = self._kind
        return kind.descriptors() if isinstance(kind, RealHost) else len(os.listdir("/proc/self/fd"))

    def close(self) -> None:
        for fd in self._open:
            os.close(fd)
        for listener in self._sockets:
            listener.close()


@pytest.fixture(params=["real", "fake"])
def subject(request: pytest.FixtureRequest) -> Iterator[Subject]:
    if request.param == "fake":
        fake = FakeHost()
        it = Subject(fake)
        yield it
        fake.kill_all()
        it.close()
    else:
        with RealHost() as host:
            it = Subject(host)
            yield it
            it.close()


def free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


def test_what_a_program_writes_can_be_read_from_its_two_streams(subject: Subject) -> None:
    child = subject.spawn("print:one", "err:two", "print:three", "exit:0")
    assert subject.rest(child.stdout) == "one\nthree\n"
    assert subject.rest(child.stderr) == "two\n"


@pytest.mark.parametrize("code", [0, 1, 7, 255])
def test_an_exit_is_told_once_with_its_code(subject: Subject, code: int) -> None:
    subject.spawn(f"exit:{code}")
    assert subject.ended() == [Ended("web", code, None)]
    assert subject.host.reap() == []


@pytest.mark.parametrize("name", ["SIGKILL", "SIGABRT", "SIGTERM"])
def test_a_death_by_a_signal_is_told_with_its_name(subject: Subject, name: str) -> None:
    subject.spawn(f"die:{name}")
    assert subject.ended() == [Ended("web", None, name)]


def test_while_it_runs_nothing_is_told(subject: Subject) -> None:
    child = subject.spawn("print:up", "hold")
    subject.line(child.stdout)
    assert subject.host.reap() == []


def test_a_stop_signal_reaches_the_whole_group(subject: Subject) -> None:
    child = subject.spawn("report:SIGTERM", "child", "print:up", "hold")
    assert [subject.line(child.stdout) for _ in range(2)] == ["up", "up"]
    subject.host.terminate("web", "SIGTERM")
    assert subject.rest(child.stdout) == "got SIGTERM\n" * 2
    assert subject.ended() == [Ended("web", 0, None)]


def test_a_stop_signal_that_nobody_handles_is_the_end(subject: Subject) -> None:
    child = subject.spawn("print:up", "hold")
    subject.line(child.stdout)
    subject.host.terminate("web", "SIGHUP")
    assert subject.ended() == [Ended("web", None, "SIGHUP")]


def test_a_tree_that_was_asked_is_told_of_only_when_the_last_of_it_is_gone(subject: Subject) -> None:
    child = subject.spawn("ignore:SIGTERM", "daemon", "report:SIGTERM", "print:up", "hold")
    subject.line(child.stdout)
    subject.host.terminate("web", "SIGTERM")
    subject.await_death(child)
    assert subject.host.reap() == []
    assert subject.host.memory("web")
    subject.host.kill("web")
    assert subject.ended() == [Ended("web", 0, None)]
    assert subject.rest(child.stdout) == "got SIGTERM\n"


def test_what_is_outside_of_the_group_is_asked_once_the_program_is_dead(subject: Subject) -> None:
    child = subject.spawn("report:SIGTERM", "daemon", "print:up", "hold")
    subject.line(child.stdout)
    subject.host.terminate("web", "SIGTERM")
    assert subject.ended() == [Ended("web", 0, None)]
    assert subject.rest(child.stdout) == "got SIGTERM\n" * 2


def test_one_that_ends_unasked_takes_what_it_left_behind_with_it(subject: Subject) -> None:
    child = subject.spawn("daemon", "child", "exit:3")
    assert subject.ended() == [Ended("web", 3, None)]
    assert subject.rest(child.stdout) == ""


def test_a_kill_ends_a_deaf_and_daemonised_tree(subject: Subject) -> None:
    child = subject.spawn("ignore:SIGTERM", "daemon", "child", "print:up", "hold")
    assert [subject.line(child.stdout) for _ in range(2)] == ["up", "up"]
    subject.host.terminate("web", "SIGTERM")
    subject.host.kill("web")
    assert subject.ended() == [Ended("web", None, "SIGKILL")]
    assert subject.rest(child.stdout) == ""


def test_a_kill_of_one_service_leaves_the_others_daemons_alone(subject: Subject) -> None:
    web = subject.spawn("ignore:SIGTERM", "daemon", "print:up", "hold", service="web")
    api = subject.spawn("ignore:SIGTERM", "daemon", "report:SIGTERM", "print:up", "hold", service="api")
    subject.line(web.stdout)
    subject.line(api.stdout)
    subject.host.kill("web")
    assert subject.ended() == [Ended("web", None, "SIGKILL")]
    assert subject.rest(web.stdout) == ""
    subject.host.terminate("api", "SIGTERM")
    assert subject.line(api.stdout) == "got SIGTERM"
    subject.await_death(api)
    assert not select.select([api.stdout], [], [], 0)[0]  # its daemon has the pipe still
    subject.host.kill("api")
    assert subject.ended() == [Ended("api", 0, None)]


def test_all_can_be_ended_at_once_and_nothing_is_told_afterwards(subject: Subject) -> None:
    children = [subject.spawn("daemon", "child", "ignore:SIGTERM", "hold", service=name) for name in ("web", "api")]
    subject.host.kill_all()
    assert [subject.rest(child.stdout) for child in children] == ["", ""]
    assert subject.host.reap() == []


def test_a_service_that_is_not_there_can_be_ended_and_owns_nothing(subject: Subject) -> None:
    subject.host.terminate("web", "SIGTERM")
    subject.host.kill("web")
    assert subject.host.reap() == []
    assert not subject.host.owns("web", "127.0.0.1", 80)
    assert subject.host.memory("web") is None


def test_a_service_can_be_started_again_after_its_end(subject: Subject) -> None:
    subject.spawn("exit:1")
    subject.ended()
    again = subject.spawn("print:again", "exit:0")
    assert subject.rest(again.stdout) == "again\n"
    assert subject.ended() == [Ended("web", 0, None)]


def test_a_program_that_is_not_there_is_an_error_and_leaves_no_descriptor(subject: Subject) -> None:
    before = subject.descriptors()
    for argv in (("/nonexistent/program",), ("/",)):
        with pytest.raises(ProcessSpawnFailedError):
            subject.host.spawn("web", Launch(argv, "/", {}))
    assert subject.descriptors() == before
    assert subject.host.reap() == []


def test_a_run_leaves_no_descriptor(subject: Subject) -> None:
    """But for the two that it gives away."""
    before = subject.descriptors()
    child = subject.spawn("daemon", "exit:0")
    subject.ended()
    subject.rest(child.stdout)
    given = 0 if isinstance(subject.host, RealHost) else 2  # the real one's helper has passed them to us
    assert subject.descriptors() == before + given


@pytest.mark.parametrize(
    ("at", "asked"),
    [("127.0.0.1", "127.0.0.1"), ("0.0.0.0", "127.0.0.1"), ("::", "127.0.0.1"), ("::1", "::1"), ("::", "::1")],
)
def test_a_listener_of_the_tree_is_its_own_and_nobody_elses(subject: Subject, at: str, asked: str) -> None:
    port = free_port()
    child = subject.spawn("daemon", f"listen:{at}={port}", "print:up", "hold")
    other = subject.spawn("print:up", "hold", service="api")
    subject.line(child.stdout)
    subject.line(other.stdout)
    assert subject.host.owns("web", asked, port)
    assert not subject.host.owns("api", asked, port)
    assert not subject.host.owns("web", asked, free_port())


def test_a_strangers_listener_is_not_ours_though_we_have_the_wildcard(subject: Subject) -> None:
    port = subject.stranger("127.0.0.1")
    child = subject.spawn(f"listen:::1={port}", "print:up", "hold")
    subject.line(child.stdout)
    assert subject.host.owns("web", "::1", port)
    assert not subject.host.owns("web", "127.0.0.1", port)


def test_whoever_holds_a_port_is_named(subject: Subject) -> None:
    port = subject.stranger("127.0.0.1")
    found = subject.host.holder(port)
    assert found is not None
    assert found.pid
    assert found.command
    assert found.user
    assert not found.ours
    assert subject.host.holder(free_port()) is None


def test_memory_is_that_of_the_whole_tree(subject: Subject) -> None:
    child = subject.spawn("print:up", "hold")
    subject.line(child.stdout)
    alone = subject.host.memory("web")
    subject.host.kill("web")
    subject.ended()
    child = subject.spawn("child", "child", "print:up", "hold")
    for _ in range(4):
        subject.line(child.stdout)
    four = subject.host.memory("web")
    assert alone
    assert four
    assert four > alone * 2


def test_the_guarantees_name_the_platform(subject: Subject) -> None:
    assert subject.host.guarantees().platform in ("linux", "fake")
    assert not subject.host.guarantees().guard
