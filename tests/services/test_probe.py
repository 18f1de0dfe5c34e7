"""The result of a probe for every kind of server, and without a server."""

from __future__ import annotations

import errno
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any, Literal

import pytest

from sidecar.config.services import HttpReady, Probe, ServerReady, TcpReady
from sidecar.core.events import Address, Endpoint, Owner, Verdict
from sidecar.errors import PortUnavailableError
from sidecar.services import exchange, probe
from tests.support.ports import free_port
from tests.support.waiting import WAIT_S

SHORT_S = 0.2
"""Timeout of an attempt that must time out."""

Answer = Callable[[socket.socket], None]


def ours(_address: str, _port: int) -> Owner:
    return "ours"


def somebody_elses(_address: str, _port: int) -> Owner:
    return "foreign"


@contextmanager
def server(answer: Answer, host: str = "127.0.0.1") -> Iterator[Endpoint]:
    """Run a server that handles each connection with ``answer``."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.create_server((host, free_port()), family=family)
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
        with socket.create_connection(
            listener.getsockname()[:2]
        ):  # on macOS and Windows a close alone does not wake accept
            thread.join(WAIT_S)
        listener.close()


def says(text: str) -> Answer:
    def answer(peer: socket.socket) -> None:
        peer.recv(4096)
        peer.sendall(text.encode())

    return answer


def status(code: int) -> Answer:
    return says(f"HTTP/1.1 {code} Whatever\r\nConnection: close\r\n\r\n")


def ask(kind: Probe, at: Endpoint, timeout_s: float = WAIT_S) -> Verdict:
    return probe.attempt(kind, at, ours, timeout_s).verdict


def silent(peer: socket.socket) -> None:
    """Close the connection without an answer."""
    peer.recv(4096)


def pages(**answers: str) -> Answer:
    """Answer a GET of ``root`` or ``base`` with this text, and anything that is not a request with 400."""
    names = {b"/": "root", b"/app/": "base"}

    def answer(peer: socket.socket) -> None:
        words = peer.recv(4096).split(b" ")
        name = names.get(words[1], "other") if words[0] == b"GET" else "none"
        peer.sendall(f"HTTP/1.1 {answers.get(name, '400 Bad Request')}\r\n\r\n".encode())

    return answer


def tls(answer: bytes) -> Answer:
    """Close connections without TLS, as node does, and answer a TLS hello with this."""

    def respond(peer: socket.socket) -> None:
        if peer.recv(4096).startswith(b"\x16\x03"):
            peer.sendall(answer)

    return respond


@pytest.mark.parametrize("code", [101, 204, 302, 400, 401, 404, 500, 502])
def test_a_dev_server_that_answers_anything_is_ready(code: int) -> None:
    with server(status(code)) as at:
        assert ask(ServerReady(), at) == "ok"


@pytest.mark.parametrize("text", ["SSH-2.0-OpenSSH\r\n", "x", "<!DOCTYPE html>"])
def test_an_answer_need_not_be_http(text: str) -> None:
    with server(says(text)) as at:
        assert ask(ServerReady(), at) == "ok"


def test_a_dev_server_is_not_asked_for_a_page() -> None:
    heard: list[bytes] = []

    def answer(peer: socket.socket) -> None:
        heard.append(peer.recv(4096))
        peer.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")

    with server(answer) as at:
        ask(ServerReady(), at)
    assert heard == [probe.NO_REQUEST]


@pytest.mark.parametrize(
    "answer", [b"\x16\x03\x03\x00\x51\x02", b"\x15\x03\x01\x00\x02\x02\x28"], ids=["hello", "alert"]
)
def test_a_server_that_answers_a_tls_hello_is_an_https_server(answer: bytes) -> None:
    with server(tls(answer)) as at:
        found = probe.attempt(ServerReady(), at, ours, WAIT_S)
    assert (found.verdict, found.scheme) == ("ok", "https")


def test_a_server_that_alerts_at_plain_http_is_an_https_server() -> None:
    with server(says("\x15\x03\x01\x00\x02\x02\x46")) as at:
        assert probe.attempt(ServerReady(), at, ours, WAIT_S).scheme == "https"
        assert probe.attempt(HttpReady(), at, ours, WAIT_S).scheme == "https"


def test_a_server_that_closes_each_connection_is_no_answer() -> None:
    with server(silent) as at:
        found = probe.attempt(ServerReady(), at, ours, WAIT_S)
    assert (found.verdict, found.detail) == ("down", "it takes connections and closes them without an answer")


def test_python_answers_our_hello() -> None:
    """A real TLS library accepts our hello as one: it answers, if only with an alert."""
    ssl = pytest.importorskip("ssl")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)

    def answer(peer: socket.socket) -> None:
        with context.wrap_socket(peer, server_side=True):
            pass

    with server(answer) as at:
        assert probe.attempt(ServerReady(), at, ours, WAIT_S).scheme == "https"


@pytest.mark.parametrize(
    ("root", "base", "found"),
    [
        ("204 No Content", "404 Not Found", "/"),
        ("302 Found\r\nLocation: /app/", "204 No Content", "/app/"),
        ("302 Found\r\nlocation:/app/?next=/", "204 No Content", "/app/"),
        ("302 Found\r\nLocation: /app/", "200 OK", "/"),
        ("302 Found\r\nLocation: /login", "204 No Content", "/"),
        ("302 Found\r\nLocation: //example.org/app/", "204 No Content", "/"),
        ("302 Found\r\nLocation: https://example.org/app/", "204 No Content", "/"),
        ("302 Found", "204 No Content", "/"),
        ("401 Unauthorized", "204 No Content", "/"),
        ("500 Internal Server Error", "204 No Content", "/"),
    ],
)
def test_the_base_is_where_the_root_redirects_to_and_Vite_answers_its_ping(
    root: str, base: str, found: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(probe, "BASE_S", WAIT_S)
    with server(pages(root=root, base=base)) as at:
        assert probe.find_base("127.0.0.1", at) == found


def test_a_page_that_is_slow_does_not_put_off_readiness_for_long(monkeypatch: pytest.MonkeyPatch) -> None:
    def answer(peer: socket.socket) -> None:
        done.wait(WAIT_S)

    done = threading.Event()
    monkeypatch.setattr(probe, "BASE_S", SHORT_S)
    with server(answer) as at:
        assert probe.find_base("127.0.0.1", at) == "/"
        done.set()


@pytest.mark.parametrize(
    ("wanted", "code", "verdict"),
    [
        (None, 200, "ok"),
        (None, 404, "ok"),
        (None, 500, "down"),
        (201, 201, "ok"),
        (201, 200, "down"),
        (503, 503, "ok"),
        ("any", 500, "ok"),
    ],
)
def test_an_http_probe_wants_its_status_or_any_that_is_not_the_servers_fault(
    wanted: int | Literal["any"] | None, code: int, verdict: Verdict
) -> None:
    with server(status(code)) as at:
        found = probe.attempt(HttpReady(path="/health?x=ä", status=wanted), at, ours, WAIT_S)
    assert (found.verdict, found.detail) == (verdict, f"/health?x=ä is answered with {code}")


def test_the_status_of_a_server_that_speaks_tls_cannot_be_asked_for() -> None:
    with server(tls(b"\x15\x03\x03\x00\x02\x02\x28")) as at:
        assert ask(HttpReady(), at) == "ok"
        assert ask(HttpReady(status="any"), at) == "ok"
        found = probe.attempt(HttpReady(status=200), at, ours, WAIT_S)
    assert found.verdict == "down"
    assert "use the probe tcp" in found.detail


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
        assert ask(HttpReady(status=204), at) == "ok"


def test_a_head_may_end_without_carriage_returns(monkeypatch: pytest.MonkeyPatch) -> None:
    def answer(peer: socket.socket) -> None:
        peer.recv(4096)
        peer.sendall(b"HTTP/1.0 200 OK\nContent-Type: text/plain\n\n")
        done.wait(WAIT_S)

    def left(deadline: float) -> float:
        waits.append(deadline)
        return WAIT_S

    done = threading.Event()
    waits: list[float] = []
    monkeypatch.setattr(exchange, "_left", left)
    with server(answer) as at:
        assert ask(HttpReady(status=200), at) == "ok"
        done.set()
    assert len(waits) == 2, "for the connection and for the answer, not for more of it"


def test_server_that_accepts_and_says_nothing_is_down_after_the_timeout() -> None:
    def answer(peer: socket.socket) -> None:
        done.wait(WAIT_S)

    done = threading.Event()
    with server(answer) as at:
        for kind in (HttpReady(), ServerReady()):
            found = probe.attempt(kind, at, ours, SHORT_S)
            assert (found.verdict, found.detail) == (
                "down",
                "it takes connections, but has not answered for 0.2 s",
            )
        done.set()


def test_a_question_that_was_lost_is_asked_once_more(monkeypatch: pytest.MonkeyPatch) -> None:
    """While an interface is down, packets are lost. It may be up again before we check whether it is down."""
    monkeypatch.setattr(probe, "CONTROL_S", WAIT_S)
    lost = threading.Event()

    def answer(peer: socket.socket) -> None:
        if lost.is_set():
            status(204)(peer)
        else:
            lost.set()
            peer.recv(4096)
            peer.recv(1)  # until the prober gives up

    with server(answer) as at:
        assert ask(ServerReady(), at, 2.0) == "ok"  # the answer needs as long on a busy machine


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
        port = bound.getsockname()[1]
        found = probe.attempt(TcpReady(), Endpoint("127.0.0.1", port), ours, WAIT_S)
    assert (found.verdict, found.detail, found.scheme) == ("down", f"127.0.0.1:{port}: connection refused", "")


@pytest.mark.parametrize("kind", [TcpReady(), ServerReady(), HttpReady()], ids=["tcp", "server", "http"])
def test_each_connect_is_told_to_fail_with_its_first_refusal(kind: Probe, monkeypatch: pytest.MonkeyPatch) -> None:
    """By default Windows repeats a refused connect for 2 s, so a server would be found only every half second."""

    class Windows(socket.socket):
        repeats = True

        def connect(self, address: tuple[str, int]) -> None:  # type: ignore[override]
            if self.repeats:
                raise TimeoutError("2 s later")
            super().connect(address)

    monkeypatch.setattr(exchange, "fail_at_once", lambda sock: setattr(sock, "repeats", False))
    with socket.socket() as bound, server(status(204)) as at:
        bound.bind(("127.0.0.1", 0))
        with monkeypatch.context() as patch:
            patch.setattr(socket, "socket", Windows)
            assert ask(kind, at) == "ok"
            found = probe.attempt(kind, Endpoint("localhost", bound.getsockname()[1]), ours, WAIT_S)
    assert "connection refused" in found.detail


def test_a_connection_that_meets_itself_is_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    """TCP's simultaneous open: a connect to a free ephemeral port can use that same port as its source."""

    class Unlucky(socket.socket):
        def connect(self, address: tuple[str, int]) -> None:  # type: ignore[override]
            self.bind(address)
            super().connect(address)

    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    monkeypatch.setattr(socket, "socket", Unlucky)
    found = probe.attempt(TcpReady(), Endpoint("127.0.0.1", port), ours, WAIT_S)
    assert (found.verdict, found.detail) == ("down", f"127.0.0.1:{port}: nobody listens")


def test_a_right_answer_of_a_stranger_is_foreign() -> None:
    with server(status(204)) as at:
        found = probe.attempt(ServerReady(), at, somebody_elses, WAIT_S)
    assert (found.verdict, found.detail) == (
        "foreign",
        f"127.0.0.1:{at.port} is answered by a process that this service did not start",
    )


def test_an_answer_whose_owner_cannot_be_read_counts_and_is_marked() -> None:
    with server(status(204)) as at:
        assert probe.attempt(ServerReady(), at, ours, WAIT_S).sure
        found = probe.attempt(ServerReady(), at, lambda *_: "unknown", WAIT_S)
    assert (found.verdict, found.sure) == ("ok", False)


def test_a_wrong_answer_is_down_whoever_gives_it() -> None:
    with server(status(500)) as at:
        assert probe.attempt(HttpReady(), at, somebody_elses, WAIT_S).verdict == "down"


def test_a_server_on_the_other_loopback_is_found_and_told() -> None:
    told: list[tuple[Verdict, Address]] = []
    with server(status(204), "::1") as at:
        here = Endpoint("127.0.0.1", at.port)
        probe.await_ready(
            ServerReady(),
            here,
            ours,
            threading.Event(),
            threading.Event(),
            lambda answer, address: told.append((answer.verdict, address)),
        )
    assert told == [("ok", Address("http", "::1", None))]


def test_a_stranger_on_one_loopback_does_not_hide_ours_on_the_other() -> None:
    with server(status(204), "::1") as at, socket.create_server(("127.0.0.1", at.port)):
        found = probe.attempt(
            TcpReady(), Endpoint("127.0.0.1", at.port), lambda it, _: "ours" if it == "::1" else "foreign", WAIT_S
        )
    assert (found.verdict, found.address) == ("ok", "::1")


def test_a_server_on_both_loopbacks_is_known_by_the_one_it_was_told() -> None:
    """Node listens on all addresses unless told one. The page's origin would then vary."""
    with socket.socket() as first, socket.socket(socket.AF_INET6) as second:
        first.bind(("127.0.0.1", 0))
        port = first.getsockname()[1]
        second.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        second.bind(("::1", port))
        second.listen()

        def owner(address: str, _port: int) -> Owner:
            if address == "::1":
                first.listen()  # the connect was refused a moment ago
            return "ours"

        found = probe.attempt(TcpReady(), Endpoint("127.0.0.1", port), owner, WAIT_S)
    assert (found.verdict, found.address) == ("ok", "127.0.0.1")


def test_where_nobody_can_be_looked_for_now_it_is_our_fault() -> None:
    def refuse(_address: str, _port: int) -> Owner:
        raise OSError(errno.EMFILE, "Too many open files")

    with server(status(204)) as at:
        assert probe.attempt(TcpReady(), at, refuse, WAIT_S).verdict == "unknown"


@pytest.mark.parametrize("number", sorted(probe._OUR_FAULT))
def test_a_fault_on_our_side_says_nothing_about_the_server(number: int, monkeypatch: pytest.MonkeyPatch) -> None:
    class Refusing(socket.socket):
        def connect(self, address: object) -> None:
            raise OSError(number, "Whatever")

    monkeypatch.setattr(socket, "socket", Refusing)
    found = probe.attempt(TcpReady(), Endpoint("127.0.0.1", 9), ours, WAIT_S)
    assert (found.verdict, found.detail) == ("unknown", "127.0.0.1:9: whatever")


def test_a_name_that_has_no_address_any_more_says_nothing_about_the_server(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(host: str, port: int) -> list[tuple[socket.AddressFamily, str]]:
        raise PortUnavailableError("The host 'dev.test' is no address of this machine.")

    monkeypatch.setattr(probe, "resolve", fail)
    found = probe.attempt(TcpReady(), Endpoint("dev.test", 80), ours, WAIT_S)
    assert found.verdict == "unknown"
    assert "dev.test" in found.detail


def test_a_server_may_listen_on_any_address_of_a_name(monkeypatch: pytest.MonkeyPatch) -> None:
    both = [(socket.AF_INET6, "::1"), (socket.AF_INET, "127.0.0.1")]
    monkeypatch.setattr(probe, "resolve", lambda _host, _port: both)
    for host in ("::1", "127.0.0.1"):
        with server(status(204), host) as at:
            named = Endpoint("localhost", at.port)
            assert ask(ServerReady(), named) == "ok"
            assert probe.attempt(ServerReady(), named, somebody_elses, WAIT_S).verdict == "foreign"
        assert probe.attempt(ServerReady(), named, ours, WAIT_S).verdict == "down"


@pytest.mark.parametrize(("host", "literal"), [("0.0.0.0", "127.0.0.1"), ("::", "::1"), ("::1", "::1")])
def test_a_wildcard_is_asked_at_its_loopback(host: str, literal: str) -> None:
    asked: list[str] = []

    def owned(address: str, port: int) -> Owner:
        asked.append(address)
        return "ours"

    with server(status(204), host) as at:
        assert probe.attempt(ServerReady(), at, owned, WAIT_S).verdict == "ok"
    assert asked == [literal]


def test_readiness_waits_for_our_own_answer_and_tells_each_finding_once() -> None:
    codes = iter([500, 500, 503, 204, 204, 204])
    foreign: list[Owner] = ["foreign"] * 5  # one for each answer except the last
    owners: Iterator[Owner] = iter([*foreign, "ours"])
    told: list[str] = []

    def answer(peer: socket.socket) -> None:
        status(next(codes))(peer)

    with server(answer) as at:
        probe.await_ready(
            HttpReady(),
            at,
            lambda *_: next(owners),
            threading.Event(),
            threading.Event(),
            lambda answer, _: told.append(answer.detail),
        )
    assert told == [
        "/ is answered with 500",
        "/ is answered with 503",
        f"127.0.0.1:{at.port} is answered by a process that this service did not start",
        "/ is answered with 204",
    ]


class Waits:
    """The two events of a wait. They record the time of each wait; ``stirs`` says when there is output."""

    def __init__(self, turns: int, *, stirs: bool = False) -> None:
        self._turns = turns
        self._stirs = stirs
        self.ended: list[float] = []
        self.stirred: list[float] = []

    def is_set(self) -> bool:
        return max(len(self.ended), len(self.stirred)) >= self._turns

    def wait(self, seconds: float) -> None:
        self.ended.append(seconds)

    def wait_for_output(self, seconds: float) -> bool:
        self.stirred.append(seconds)
        return self._stirs


def wait_in_vain(monkeypatch: pytest.MonkeyPatch, answer: probe.Answer, *, stirs: bool = False) -> Waits:
    """Make eight attempts with the same result, without waiting."""
    waits = Waits(8, stirs=stirs)
    ended: Any = waits
    stirred: Any = SimpleNamespace(wait=waits.wait_for_output, clear=lambda: None)
    monkeypatch.setattr(probe, "attempt", lambda *_, **__: answer)
    monkeypatch.setattr(time, "monotonic", lambda: 0.0)
    probe.await_ready(TcpReady(), Endpoint("127.0.0.1", 9), ours, ended, stirred, lambda *_: None)
    return waits


@pytest.mark.parametrize("stirs", [False, True])
def test_a_server_that_answers_wrongly_is_asked_ever_more_seldom(
    monkeypatch: pytest.MonkeyPatch, *, stirs: bool
) -> None:
    """Even if it prints: it may print a line about each of our requests."""
    wrong = probe.Answer("down", "/ is answered with 502", "http", "127.0.0.1")
    waits = wait_in_vain(monkeypatch, wrong, stirs=stirs)
    assert waits.ended == [0.05, 0.1, 0.2, 0.4, 0.8, 1.0, 1.0, 1.0]
    assert not waits.stirred


def test_a_server_that_is_not_there_yet_is_asked_often(monkeypatch: pytest.MonkeyPatch) -> None:
    refused = probe.Answer("down", "127.0.0.1:9: connection refused")
    waits = wait_in_vain(monkeypatch, refused)
    assert set(waits.stirred) == {probe.PACE_S}
    assert not waits.ended


def test_output_of_a_server_brings_the_next_question_forward(monkeypatch: pytest.MonkeyPatch) -> None:
    refused = probe.Answer("down", "127.0.0.1:9: connection refused")
    waits = wait_in_vain(monkeypatch, refused, stirs=True)
    assert set(waits.ended) == {probe.OUTPUT_PACE_S}


def test_the_runs_end_ends_the_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    ended = threading.Event()

    def attempt(*_: object, **__: object) -> probe.Answer:
        ended.set()
        return probe.Answer("down", "refused")

    told: list[str] = []
    monkeypatch.setattr(probe, "attempt", attempt)
    probe.await_ready(
        TcpReady(),
        Endpoint("127.0.0.1", 9),
        ours,
        ended,
        threading.Event(),
        lambda answer, _: told.append(answer.verdict),
    )
    assert told == ["down"]


def test_what_is_our_fault_is_known_by_errno() -> None:
    assert errno.ECONNREFUSED not in probe._OUR_FAULT
    assert errno.ENETUNREACH in probe._OUR_FAULT


# ── a name with several addresses ────────────────────────────────────────────────────────────────────────────────────


@contextmanager
def both_loopbacks(monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[Endpoint, socket.socket]]:
    """Yield our server on IPv4, and a socket bound to the same port on IPv6, for a name that has both addresses."""
    found = [(socket.AF_INET, "127.0.0.1"), (socket.AF_INET6, "::1")]
    monkeypatch.setattr(probe, "resolve", lambda host, port: found)
    with server(status(200)) as at, socket.socket(socket.AF_INET6) as other:
        other.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        other.bind(("::1", at.port))
        yield Endpoint("localhost", at.port), other


@pytest.mark.parametrize("kind", [ServerReady(), HttpReady(), TcpReady()])
def test_a_name_is_ours_only_if_no_stranger_listens_at_its_other_address(
    kind: Probe, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The stranger's answer does not matter: a browser may connect to it anyway."""
    owners: dict[str, Owner] = {"127.0.0.1": "ours", "::1": "foreign"}

    def owner(address: str, _port: int) -> Owner:
        return owners[address]

    with both_loopbacks(monkeypatch) as (at, other):
        assert probe.attempt(kind, at, owner, WAIT_S).verdict == "ok", "nobody listens there"
        other.listen()
        answer = probe.attempt(kind, at, owner, WAIT_S)
        assert (answer.verdict, answer.detail) == (
            "foreign",
            f"another program listens on [::1]:{at.port}, which is an address of localhost, too",
        )
        owners["::1"] = "ours"
        assert probe.attempt(kind, at, owner, WAIT_S).verdict == "ok"


def test_if_the_other_address_of_a_name_cannot_be_looked_at_nothing_is_known(monkeypatch: pytest.MonkeyPatch) -> None:
    def owner(address: str, _port: int) -> Owner:
        if address == "::1":
            raise OSError(errno.EMFILE, "Too many open files")
        return "ours"

    with both_loopbacks(monkeypatch) as (at, other):
        other.listen()
        assert probe.attempt(TcpReady(), at, owner, WAIT_S).verdict == "unknown"
