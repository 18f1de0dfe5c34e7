"""Who listens at an origin: one thread checks every address of a name, and no answer is older than its question."""

from __future__ import annotations

import errno
import queue
import socket
import threading
from collections import Counter
from collections.abc import Callable

import pytest

from sidecar.core.events import FindOwner, Launch, OwnerFound
from sidecar.errors import PortUnavailableError, SystemFailureError
from sidecar.host.base import FOREIGN, NOBODY, UNKNOWN, Claim, joined
from sidecar.protocol.messages import Holder
from sidecar.services import origins
from sidecar.services.origins import OwnerLooks, is_ours, owner_at
from tests.support.fakes import PROGRAM, FakeHost
from tests.support.waiting import WAIT_S

PORT = 5173
WEB = Claim("service", "web")
API = Claim("service", "api")


def host_with(strangers: tuple[str, ...] = (), **services: tuple[str, ...]) -> FakeHost:
    host = FakeHost()
    for name, addresses in services.items():
        host.spawn(name, Launch((PROGRAM, *(f"listen:{address}={PORT}" for address in addresses), "hold"), "/"))
    for address in strangers:
        host.foreign[address, PORT] = Holder(77)
    return host


@pytest.mark.parametrize(
    ("host", "owner"),
    [
        (host_with(), NOBODY),
        (host_with(web=()), NOBODY),
        (host_with(web=("127.0.0.1",)), WEB),
        (host_with(web=("::1",)), WEB),
        (host_with(web=("127.0.0.1", "::1")), WEB),
        (host_with(web=("::",)), WEB),
        (host_with(("::1",), web=("127.0.0.1",)), FOREIGN),
        (host_with(("127.0.0.1",), web=("::1",)), FOREIGN),
        (host_with(("0.0.0.0",), web=("127.0.0.1", "::1")), FOREIGN),
        (host_with(("127.0.0.1",)), FOREIGN),
        (host_with(web=("127.0.0.1",), api=("::1",)), UNKNOWN),
    ],
)
def test_localhost_is_ours_only_if_each_address_that_answers_is(host: FakeHost, owner: Claim) -> None:
    assert owner_at(host, "localhost", PORT) == owner
    assert owner_at(host, "localhost", PORT + 1) == NOBODY


def test_a_literal_address_is_looked_at_alone() -> None:
    host = host_with(("::1",), web=("127.0.0.1",))
    assert owner_at(host, "127.0.0.1", PORT) == WEB
    assert owner_at(host, "::1", PORT) == FOREIGN


def test_another_machines_address_is_foreign_though_we_listen_on_all_of_ours() -> None:
    host = host_with(web=("0.0.0.0", "::"))
    assert owner_at(host, "203.0.113.7", PORT) == FOREIGN
    assert owner_at(host, "2001:db8::7", PORT) == FOREIGN
    assert owner_at(host, "127.9.9.9", PORT) == WEB
    assert [what for what in host.done if what[0] == "owner"] == [("owner", f"127.9.9.9 {PORT}")]


def test_the_address_of_an_interface_is_ours() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        try:
            sock.connect(("203.0.113.7", 9))
        except OSError:
            pytest.skip("this machine has no route to other ones")
        assert is_ours(sock.getsockname()[0])


def test_a_name_that_means_nothing_now_is_unknown(monkeypatch: pytest.MonkeyPatch) -> None:
    def resolve(host: str, port: int) -> list[object]:
        raise PortUnavailableError(f"{host} {port}")

    monkeypatch.setattr(origins, "resolve", resolve)
    assert owner_at(host_with(), "my-mac.local", PORT) == UNKNOWN


def test_claims_are_joined_in_any_order() -> None:
    assert joined([NOBODY, WEB, WEB]) == WEB
    assert joined([WEB, API]) == UNKNOWN
    assert joined([UNKNOWN, WEB]) == UNKNOWN
    assert joined([API, UNKNOWN, FOREIGN]) == FOREIGN


# ── the thread ───────────────────────────────────────────────────────────────────────────────────────────────────────


class Gate(FakeHost):
    """A host whose look-ups wait for the test, and answer with what is true when they end."""

    def __init__(self) -> None:
        super().__init__()
        self.began: queue.SimpleQueue[str] = queue.SimpleQueue()
        self.go: queue.SimpleQueue[Claim | Exception] = queue.SimpleQueue()
        self.threads: set[threading.Thread] = set()

    def owner_of(self, address: str, port: int) -> Claim:
        self.threads.add(threading.current_thread())
        self.began.put(f"{address} {port}")
        found = self.go.get(timeout=WAIT_S)
        if isinstance(found, Exception):
            raise found
        return found


class Desk:
    """Asks questions, and keeps the answers."""

    def __init__(self) -> None:
        self.host = Gate()
        self.told: queue.SimpleQueue[OwnerFound] = queue.SimpleQueue()
        self.looks = OwnerLooks(self.host, self.told.put)
        self.asked = 0

    def ask(self, host: str = "127.0.0.1", port: int = PORT) -> int:
        self.asked += 1
        self.looks.ask(FindOwner(self.asked, host, port))
        return self.asked

    def answer(self) -> OwnerFound:
        return self.told.get(timeout=WAIT_S)

    def over(self) -> None:
        """Assert that every question was answered, and that no thread is left."""
        for thread in self.host.threads:
            thread.join(WAIT_S)
            assert not thread.is_alive()
        assert self.told.empty()
        assert self.host.began.empty()


def test_no_answer_is_from_a_look_that_began_before_its_question() -> None:
    desk = Desk()
    desk.ask()
    desk.host.began.get(timeout=WAIT_S)
    desk.ask()
    desk.host.go.put(WEB)
    assert desk.answer() == OwnerFound(1, "service", "web")
    desk.host.began.get(timeout=WAIT_S)
    desk.host.go.put(FOREIGN)
    assert desk.answer() == OwnerFound(2, "foreign")
    desk.over()


def test_a_thousand_questions_take_one_thread_and_one_look_per_origin() -> None:
    desk = Desk()
    desk.ask()
    desk.host.began.get(timeout=WAIT_S)  # the other questions come during this look-up
    before = threading.active_count()
    for _ in range(500):
        desk.ask()
        desk.ask(port=PORT + 1)
    assert threading.active_count() <= before
    for claim in (NOBODY, WEB, FOREIGN):
        desk.host.go.put(claim)
    told = [desk.answer() for _ in range(1_001)]
    assert sorted(it.number for it in told) == list(range(1, 1_002))
    assert Counter(it.owner for it in told) == {"nobody": 1, "service": 500, "foreign": 500}
    assert len(desk.host.threads) == 1
    assert [desk.host.began.get(timeout=WAIT_S) for _ in range(2)] == ["127.0.0.1 5173", "127.0.0.1 5174"]
    desk.over()


@pytest.mark.parametrize("error", [OSError(errno.EMFILE, "too many open files"), ZeroDivisionError("ours")])
def test_a_look_that_fails_is_unknown_and_the_next_question_is_answered(error: Exception) -> None:
    desk = Desk()
    desk.ask()
    desk.host.go.put(error)
    assert desk.answer() == OwnerFound(1, "unknown")
    desk.ask()
    desk.host.go.put(WEB)
    assert desk.answer() == OwnerFound(2, "service", "web")
    for _ in range(2):
        desk.host.began.get(timeout=WAIT_S)
    desk.over()


def test_without_a_thread_to_spare_the_answer_is_unknown(monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(name: str, work: Callable[[], None]) -> threading.Thread:
        raise SystemFailureError(f"no thread for {name}: {work}")

    desk = Desk()
    with monkeypatch.context() as patch:
        patch.setattr(origins, "start_thread", refused)
        desk.ask()
        assert desk.answer() == OwnerFound(1, "unknown")
    desk.ask()
    desk.host.go.put(WEB)
    assert desk.answer() == OwnerFound(2, "service", "web")
    desk.host.began.get(timeout=WAIT_S)
    desk.over()
