"""What a probe makes of every kind of server, and of none."""

from __future__ import annotations

import errno
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from sidecar.config import HttpReady, TcpReady, ViteService
from sidecar.errors import PortUnavailableError
from sidecar.events import Endpoint, Owner, Verdict
from sidecar.host import probe

WAIT_S = 30.0
SHORT_S = 0.05
"""For an attempt that is to run into its bound."""

Answer = Callable[[socket.socket], None]


def ours(_address: str, _port: int) -> Owner:
    return "ours"


def somebody_elses(_address: str, _port: int) -> Owner:
    return "foreign"


@contextmanager
def server(answer: Answer, host: str = "127.0.0.1") -> Iterator[Endpoint]:
    """Answers each connection in this way."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.create_server((host, 0), family=family)
    over = threading.Event()

    def serve() -> None:
        while True:
            peer, _ = listener.accept()
            with peer:
                if over.is_set():
                    return
                peer.settimeout(WAIT_S)
                try:
                    answer(peer)
                except OSError:
                    pass  # the prober hung up first

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        yield Endpoint(host, listener.getsockname()[1])
    finally:
        over.set()
        with socket.create_connection(listener.getsockname()[:2]):  # its end alone wakes no accept on macOS and Windows
            thread.join(WAIT_S)
        listener.close()


def says(text: str) -> Answer:
    def answer(peer: socket.socket) -> None:
        peer.recv(4096)
        peer.sendall(text.encode())

    return answer


def status(code: int) -> Answer:
    return says(f"HTTP/1.1 {code} Whatever\r\nConnection: close\r\n\r\n")


def ask(kind: HttpReady | TcpReady | ViteService, at: Endpoint, timeout_s: float = WAIT_S) -> Verdict:
    return probe.attempt(kind, at, ours, timeout_s)[0]


def paths(**codes: int) -> Answer:
    """Answers ``ping`` (the first path) and ``client`` with these codes."""

    def answer(peer: socket.socket) -> None:
        name = "client" if peer.recv(4096).startswith(b"GET /@vite/client ") else "ping"
        peer.sendall(f"HTTP/1.1 {codes[name]} Whatever\r\n\r\n".encode())

    return answer


@pytest.mark.parametrize(
    ("ping", "client", "verdict"),
    [(204, 404, "ok"), (200, 200, "ok"), (404, 200, "ok"), (200, 404, "down"), (404, 404, "down"), (500, 200, "down")],
)
def test_Vite_answers_its_ping_or_else_has_its_client(ping: int, client: int, verdict: Verdict) -> None:
    with server(paths(ping=ping, client=client)) as at:
        assert ask(ViteService(), at) == verdict


def test_the_question_is_Vites_ping_and_names_the_host() -> None:
    heard: list[bytes] = []

    def answer(peer: socket.socket) -> None:
        heard.append(peer.recv(4096))

    with server(answer) as at:
        ask(ViteService(), at)
    (request,) = heard
    assert request.startswith(b"GET / HTTP/1.1\r\n")
    assert b"\r\nAccept: text/x-vite-ping\r\n" in request
    assert f"\r\nHost: 127.0.0.1:{at.port}\r\n".encode() in request


@pytest.mark.parametrize(
    ("wanted", "code", "verdict"),
    [(None, 200, "ok"), (None, 404, "ok"), (None, 500, "down"), (201, 201, "ok"), (201, 200, "down"), (503, 503, "ok")],
)
def test_an_http_probe_wants_its_status_or_any_that_is_not_the_servers_fault(
    wanted: int | None, code: int, verdict: Verdict
) -> None:
    with server(status(code)) as at:
        assert ask(HttpReady(path="/health?x=ä", status=wanted), at) == verdict


@pytest.mark.parametrize(
    "text", ["", "SSH-2.0-OpenSSH\r\n", "HTTP/1.1\r\n", "HTTP/1.1 2x4 No\r\n", "HTTP/2 204\r\n", "x" * 9000], ids=repr
)
def test_what_is_no_http_is_no_answer(text: str) -> None:
    with server(says(text)) as at:
        assert ask(HttpReady(), at) == "down"
        assert ask(TcpReady(), at) == "ok"


def test_an_answer_may_come_in_pieces() -> None:
    def answer(peer: socket.socket) -> None:
        peer.recv(4096)
        for byte in b"HTTP/1.1 204 No Content\r\n\r\n":
            peer.sendall(bytes([byte]))

    with server(answer) as at:
        assert ask(ViteService(), at) == "ok"


def test_a_server_that_takes_the_connection_and_says_nothing_is_down_when_the_time_is_over() -> None:
    def answer(peer: socket.socket) -> None:
        done.wait(WAIT_S)

    done = threading.Event()
    with server(answer) as at:
        assert probe.attempt(HttpReady(), at, ours, SHORT_S) == ("down", "no answer within 0.05 s")
        done.set()


def test_one_that_drips_without_end_is_bounded_too() -> None:
    def answer(peer: socket.socket) -> None:
        while True:
            peer.sendall(b"H")
            if done.wait(0.01):
                return

    done = threading.Event()
    with server(answer) as at:
        assert ask(HttpReady(), at, 0.1) == "down"
        done.set()


def test_a_half_open_listener_that_nobody_accepts_from_is_down() -> None:
    with socket.create_server(("127.0.0.1", 0), backlog=0) as listener:
        assert ask(HttpReady(), Endpoint("127.0.0.1", listener.getsockname()[1]), SHORT_S) == "down"


def test_where_nobody_listens_is_down() -> None:
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        verdict, detail = probe.attempt(TcpReady(), Endpoint("127.0.0.1", bound.getsockname()[1]), ours, WAIT_S)
    assert (verdict, detail) == ("down", "connection refused")


def test_a_connection_that_meets_itself_is_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    """TCP's simultaneous open: connecting to a free port of the ephemeral range can come from that very port."""

    class Unlucky(socket.socket):
        def connect(self, address: tuple[str, int]) -> None:  # type: ignore[override]
            self.bind(address)
            super().connect(address)

    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    monkeypatch.setattr(socket, "socket", Unlucky)
    assert probe.attempt(TcpReady(), Endpoint("127.0.0.1", port), ours, WAIT_S) == ("down", "nobody listens")


def test_a_right_answer_of_a_stranger_is_foreign() -> None:
    with server(status(204)) as at:
        assert probe.attempt(ViteService(), at, somebody_elses, WAIT_S)[0] == "foreign"


def test_a_right_answer_counts_where_nobody_can_tell_whose_it_is() -> None:
    with server(status(204)) as at:
        assert probe.attempt(ViteService(), at, lambda *_: "unknown", WAIT_S)[0] == "ok"


def test_a_wrong_answer_is_down_whoever_gives_it() -> None:
    with server(paths(ping=200, client=404)) as at:
        assert probe.attempt(ViteService(), at, somebody_elses, WAIT_S)[0] == "down"


@pytest.mark.parametrize("number", sorted(probe._OUR_FAULT))
def test_a_fault_on_our_side_says_nothing_about_the_server(number: int, monkeypatch: pytest.MonkeyPatch) -> None:
    class Refusing(socket.socket):
        def connect(self, address: object) -> None:
            raise OSError(number, "Whatever")

    monkeypatch.setattr(socket, "socket", Refusing)
    assert probe.attempt(TcpReady(), Endpoint("127.0.0.1", 9), ours, WAIT_S) == ("unknown", "whatever")


def test_a_name_that_has_no_address_any_more_says_nothing_about_the_server(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(host: str, port: int) -> list[tuple[socket.AddressFamily, str]]:
        raise PortUnavailableError("The host 'dev.test' is no address of this machine.")

    monkeypatch.setattr(probe, "resolve", fail)
    verdict, detail = probe.attempt(TcpReady(), Endpoint("dev.test", 80), ours, WAIT_S)
    assert verdict == "unknown"
    assert "dev.test" in detail


def test_a_server_may_listen_on_any_address_of_a_name(monkeypatch: pytest.MonkeyPatch) -> None:
    both = [(socket.AF_INET6, "::1"), (socket.AF_INET, "127.0.0.1")]
    monkeypatch.setattr(probe, "resolve", lambda _host, _port: both)
    for host in ("::1", "127.0.0.1"):
        with server(status(204), host) as at:
            named = Endpoint("localhost", at.port)
            assert ask(ViteService(), named) == "ok"
            assert probe.attempt(ViteService(), named, somebody_elses, WAIT_S)[0] == "foreign"
        assert probe.attempt(ViteService(), named, ours, WAIT_S) == ("down", "connection refused")


@pytest.mark.parametrize(("host", "literal"), [("0.0.0.0", "127.0.0.1"), ("::", "::1"), ("::1", "::1")])
def test_a_wildcard_is_asked_at_its_loopback(host: str, literal: str) -> None:
    asked: list[str] = []

    def owned(address: str, port: int) -> Owner:
        asked.append(address)
        return "ours"

    with server(status(204), host) as at:
        assert probe.attempt(ViteService(), at, owned, WAIT_S)[0] == "ok"
    assert asked == [literal]


def test_readiness_is_awaited_until_the_answer_is_ours_and_a_stranger_is_told_of_once() -> None:
    answers = iter([500, 204, 204, 204])
    owned: Iterator[Owner] = iter(["foreign", "foreign", "ours"])
    told: list[Verdict] = []

    def answer(peer: socket.socket) -> None:
        status(next(answers))(peer)

    with server(answer) as at:
        probe.await_ready(
            ViteService(), at, lambda *_: next(owned), threading.Event(), lambda verdict, _: told.append(verdict)
        )
    assert told == ["foreign", "ok"]


def test_the_runs_end_ends_the_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    ended = threading.Event()
    told: list[Verdict] = []

    def attempt(*_: object) -> tuple[Verdict, str]:
        ended.set()
        return "down", "refused"

    monkeypatch.setattr(probe, "attempt", attempt)
    probe.await_ready(TcpReady(), Endpoint("127.0.0.1", 9), ours, ended, lambda verdict, _: told.append(verdict))
    assert told == []


def test_what_is_our_fault_is_known_by_errno() -> None:
    assert errno.ECONNREFUSED not in probe._OUR_FAULT
    assert errno.ENETUNREACH in probe._OUR_FAULT
