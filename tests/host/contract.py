"""The contract suite: what every host must do. A test class inherits it and provides the fixture ``subject``."""

from __future__ import annotations

from typing import Protocol

import pytest

from sidecar.core.events import Launch
from sidecar.errors import ProcessSpawnFailedError
from sidecar.host.base import FOREIGN, NOBODY, Child, Claim, Ended, Host
from tests.support.ports import free_port


class Subject(Protocol):
    """A host, and what a test needs to know about its kind."""

    host: Host
    given: int
    """How many descriptors each spawn leaves open in the host's process, because the caller owns them."""

    def needs(self, what: str) -> None:
        """Skip the test if the system lacks this: ``signals``, ``asking others``, ``owners`` of sockets."""

    def spawn(self, *words: str, service: str = "web") -> Child:
        """Start the program with these words (see tests/children/program.py)."""

    def line(self, fd: int) -> str:
        """Return the next line of output."""

    def rest(self, fd: int) -> str:
        """Return all output up to EOF, which comes when the whole tree is dead: each process holds the pipe."""

    def is_silent(self, fd: int) -> bool:
        """Return whether there is neither output nor EOF."""

    def await_death(self, child: Child) -> None:
        """Wait until the program itself (not all of its tree) is dead, reaped or not."""

    def ended(self) -> list[Ended]:
        """Wait until ``reap`` returns something; return that."""

    def stranger(self, address: str, port: int = 0) -> int:
        """Listen in a process that is not the host's; return the port."""

    def descriptors(self) -> int:
        """Return how many descriptors the host's process has."""


class Contract:
    def test_what_a_program_writes_can_be_read_from_its_two_streams(self, subject: Subject) -> None:
        child = subject.spawn("print:one", "err:two", "print:three", "exit:0")
        assert subject.rest(child.stdout) == "one\nthree\n"
        assert subject.rest(child.stderr) == "two\n"

    @pytest.mark.parametrize("code", [0, 1, 7, 255])
    def test_an_exit_is_told_once_with_its_code(self, subject: Subject, code: int) -> None:
        subject.spawn(f"exit:{code}")
        assert subject.ended() == [Ended("web", code, None)]
        assert subject.host.reap() == []

    @pytest.mark.parametrize("name", ["SIGKILL", "SIGABRT", "SIGTERM"])
    def test_a_death_by_a_signal_is_told_with_its_name(self, subject: Subject, name: str) -> None:
        subject.needs("signals")
        subject.spawn(f"die:{name}")
        assert subject.ended() == [Ended("web", None, name)]

    def test_while_it_runs_nothing_is_told(self, subject: Subject) -> None:
        child = subject.spawn("print:up", "hold")
        subject.line(child.stdout)
        assert subject.host.reap() == []

    def test_a_stop_signal_reaches_the_whole_group(self, subject: Subject) -> None:
        child = subject.spawn("report:SIGTERM", "child", "print:up", "hold")
        assert [subject.line(child.stdout) for _ in range(2)] == ["up", "up"]
        subject.host.terminate("web", "SIGTERM")
        assert subject.rest(child.stdout) == "got SIGTERM\n" * 2
        assert subject.ended() == [Ended("web", 0, None)]

    def test_a_stop_signal_that_nobody_handles_is_the_end(self, subject: Subject) -> None:
        child = subject.spawn("print:up", "hold")
        subject.needs("signals")
        subject.line(child.stdout)
        subject.host.terminate("web", "SIGHUP")
        assert subject.ended() == [Ended("web", None, "SIGHUP")]

    def test_a_tree_that_was_asked_is_told_of_only_when_the_last_of_it_is_gone(self, subject: Subject) -> None:
        child = subject.spawn("ignore:SIGTERM", "daemon", "report:SIGTERM", "print:up", "hold")
        subject.line(child.stdout)
        subject.host.terminate("web", "SIGTERM")
        subject.await_death(child)
        assert subject.host.reap() == []
        assert subject.host.memory("web")
        subject.host.kill("web")
        assert subject.ended() == [Ended("web", 0, None)]
        assert subject.rest(child.stdout) == "got SIGTERM\n"

    def test_what_is_outside_of_the_group_is_asked_once_the_program_is_dead(self, subject: Subject) -> None:
        subject.needs("asking others")
        child = subject.spawn("report:SIGTERM", "daemon", "print:up", "hold")
        subject.line(child.stdout)
        subject.host.terminate("web", "SIGTERM")
        assert subject.ended() == [Ended("web", 0, None)]
        assert subject.rest(child.stdout) == "got SIGTERM\n" * 2

    def test_one_that_ends_unasked_takes_what_it_left_behind_with_it(self, subject: Subject) -> None:
        child = subject.spawn("daemon", "child", "exit:3")
        assert subject.ended() == [Ended("web", 3, None)]
        assert subject.rest(child.stdout) == ""

    def test_a_kill_ends_a_deaf_and_daemonised_tree(self, subject: Subject) -> None:
        child = subject.spawn("ignore:SIGTERM", "daemon", "child", "print:up", "hold")
        assert [subject.line(child.stdout) for _ in range(2)] == ["up", "up"]
        subject.host.terminate("web", "SIGTERM")
        subject.host.kill("web")
        assert subject.ended() == [Ended("web", None, "SIGKILL")]
        assert subject.rest(child.stdout) == ""

    def test_a_kill_of_one_service_leaves_the_others_daemons_alone(self, subject: Subject) -> None:
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
        assert subject.is_silent(api.stdout)  # its daemon still holds the pipe
        subject.host.kill("api")
        assert subject.ended() == [Ended("api", 0, None)]

    def test_all_can_be_ended_at_once_and_nothing_is_told_afterwards(self, subject: Subject) -> None:
        children = [subject.spawn("daemon", "child", "ignore:SIGTERM", "hold", service=name) for name in ("web", "api")]
        subject.host.kill_all()
        assert [subject.rest(child.stdout) for child in children] == ["", ""]
        assert subject.host.reap() == []

    def test_a_service_that_is_not_there_can_be_ended_and_owns_nothing(self, subject: Subject) -> None:
        subject.host.terminate("web", "SIGTERM")
        subject.host.kill("web")
        assert subject.host.reap() == []
        assert subject.host.owns("web", "127.0.0.1", 80) == "foreign"
        assert subject.host.owner_of("127.0.0.1", free_port()) == NOBODY
        assert subject.host.listening("web") == ()
        assert subject.host.memory("web") is None

    def test_a_service_can_be_started_again_after_its_end(self, subject: Subject) -> None:
        subject.spawn("exit:1")
        subject.ended()
        again = subject.spawn("print:again", "exit:0")
        assert subject.rest(again.stdout) == "again\n"
        assert subject.ended() == [Ended("web", 0, None)]

    def test_a_program_that_is_not_there_is_an_error_and_leaves_no_descriptor(self, subject: Subject) -> None:
        before = subject.descriptors()
        for argv in (("/nonexistent/program",), ("/",)):
            with pytest.raises(ProcessSpawnFailedError):
                subject.host.spawn("web", Launch(argv, "/", {}))
        assert subject.descriptors() == before
        assert subject.host.reap() == []

    def test_unavailable_pid_namespace_is_refused_not_left_out_silently(self, subject: Subject) -> None:
        if subject.host.guarantees().platform in ("linux", "fake"):
            pytest.skip("supported here: see tests/faults/test_pidns.py")
        with pytest.raises(ProcessSpawnFailedError, match="Linux only"):
            subject.host.spawn("web", Launch(("/bin/true",), "/", {}, pid_namespace=True))
        assert subject.host.reap() == []

    def test_a_run_leaves_no_descriptor(self, subject: Subject) -> None:
        """Except the two that it hands to the caller."""
        before = subject.descriptors()
        child = subject.spawn("daemon", "exit:0")
        subject.ended()
        subject.rest(child.stdout)
        assert subject.descriptors() == before + subject.given

    @pytest.mark.parametrize(
        ("at", "asked"),
        [
            ("127.0.0.1", "127.0.0.1"),
            ("0.0.0.0", "127.0.0.1"),
            ("::", "127.0.0.1"),
            ("::1", "::1"),
            ("::", "::1"),
            ("::ffff:127.0.0.1", "127.0.0.1"),
        ],
    )
    def test_a_listener_of_the_tree_is_its_own_and_nobody_elses(self, subject: Subject, at: str, asked: str) -> None:
        subject.needs("owners")
        port = free_port()
        child = subject.spawn("daemon", f"listen:{at}={port}", "print:up", "hold")
        other = subject.spawn("print:up", "hold", service="api")
        subject.line(child.stdout)
        subject.line(other.stdout)
        assert subject.host.owns("web", asked, port) == "ours"
        assert subject.host.owns("api", asked, port) == "foreign"
        assert subject.host.owns("web", asked, free_port()) == "foreign"

    def test_a_strangers_listener_is_not_ours_though_we_have_the_wildcard(self, subject: Subject) -> None:
        subject.needs("owners")
        port = subject.stranger("127.0.0.1")
        child = subject.spawn(f"listen:::1={port}", "print:up", "hold")
        subject.line(child.stdout)
        assert subject.host.owns("web", "::1", port) == "ours"
        assert subject.host.owns("web", "127.0.0.1", port) == "foreign"

    @pytest.mark.parametrize(
        ("at", "asked"),
        [
            ("127.0.0.1", "127.0.0.1"),
            ("0.0.0.0", "127.0.0.1"),
            ("::", "127.0.0.1"),
            ("::1", "::1"),
            ("::", "::1"),
            ("::ffff:127.0.0.1", "127.0.0.1"),
        ],
    )
    def test_an_address_is_the_services_while_its_tree_listens(self, subject: Subject, at: str, asked: str) -> None:
        """A grandchild counts as well. Before the service starts and after it ends, the address has no owner."""
        subject.needs("owners")
        port = free_port()
        idle = subject.spawn("print:up", "hold", service="api")
        subject.line(idle.stdout)
        assert subject.host.owner_of(asked, port) == NOBODY
        for words in ((f"listen:{at}={port}", "print:up", "hold"), (f"grandchild:{at}={port}", "print:up", "hold")):
            child = subject.spawn(*words)
            subject.line(child.stdout)
            assert subject.host.owner_of(asked, port) == Claim("service", "web")
            subject.host.kill("web")
            assert subject.ended() == [Ended("web", None, "SIGKILL")]
            assert subject.host.owner_of(asked, port) == NOBODY

    def test_an_address_is_a_strangers_whatever_ours_listens_on(self, subject: Subject) -> None:
        subject.needs("owners")
        port = subject.stranger("127.0.0.1")
        assert subject.host.owner_of("127.0.0.1", port) == FOREIGN, "nothing of ours runs"
        child = subject.spawn(f"listen:::1={port}", "print:up", "hold")
        subject.line(child.stdout)
        assert subject.host.owner_of("127.0.0.1", port) == FOREIGN
        assert subject.host.owner_of("::1", port) == Claim("service", "web")

    def test_each_service_has_its_own_addresses(self, subject: Subject) -> None:
        subject.needs("owners")
        port = free_port()
        web = subject.spawn(f"listen:127.0.0.1={port}", "print:up", "hold")
        api = subject.spawn(f"listen:::1={port}", "print:up", "hold", service="api")
        subject.line(web.stdout)
        subject.line(api.stdout)
        assert subject.host.owner_of("127.0.0.1", port) == Claim("service", "web")
        assert subject.host.owner_of("::1", port) == Claim("service", "api")

    def test_a_tree_listens_wherever_one_of_its_processes_does(self, subject: Subject) -> None:
        """The program itself or a grandchild. Two processes that share a socket count as one listener."""
        subject.needs("owners")
        first, second = free_port(), free_port()
        words = (f"listen:127.0.0.1={first}", f"grandchild:::1={second}", "child", "print:up", "hold")
        child = subject.spawn(*words)
        idle = subject.spawn("print:up", "hold", service="api")
        for _ in range(2):
            subject.line(child.stdout)
        subject.line(idle.stdout)
        assert subject.host.listening("web") == (("127.0.0.1", first), ("::1", second))
        assert subject.host.owns("web", "::1", second) == "ours"
        assert subject.host.listening("api") == ()

    def test_whoever_holds_a_port_is_named(self, subject: Subject) -> None:
        subject.needs("owners")
        port = subject.stranger("127.0.0.1")
        found = subject.host.holder(port)
        assert found is not None
        assert found.pid
        assert found.command
        assert found.user
        assert not found.ours
        assert subject.host.holder(free_port()) is None

    def test_memory_is_that_of_the_whole_tree(self, subject: Subject) -> None:
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

    def test_the_guarantees_name_the_platform(self, subject: Subject) -> None:
        assert subject.host.guarantees().platform in ("linux", "darwin", "windows", "fake")
        assert not subject.host.guarantees().guard
