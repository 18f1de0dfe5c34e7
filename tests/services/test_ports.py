"""The choice of a port: free on all addresses, in order of preference, and reserved until it is released."""

from __future__ import annotations

import errno
import os
import socket
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from unittest.mock import Mock

import psutil
import pytest

if sys.platform != "linux":
    pytest.skip("needs /proc to find a port's holder", allow_module_level=True)

from sidecar.core.events import Endpoint
from sidecar.errors import PortUnavailableError
from sidecar.host import shared
from sidecar.host.linux import sockets
from sidecar.protocol.messages import Holder
from sidecar.services import ports
from sidecar.services.ports import PortAllocator, PortRequest
from tests.support.ports import free_port

EVERYWHERE = ("127.0.0.1", "0.0.0.0", "::1", "::")
STRANGER = Holder(7, "a stranger", "them", ours=False)


@contextmanager
def listening(address: str, port: int = 0) -> Iterator[int]:
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    both = address.startswith("::ffff:")
    with socket.create_server((address, port), family=family, dualstack_ipv6=both) as listener:
        yield int(listener.getsockname()[1])


def a_wish(
    preferred: int | None,
    host: str = "127.0.0.1",
    current: int | None = None,
    last: Callable[[], int | None] = lambda: None,
    keep: bool = False,
    strict: bool = False,
) -> PortRequest:
    return PortRequest(host, preferred, current, last, keep, strict)


@pytest.fixture
def book() -> Iterator[PortAllocator]:
    it = PortAllocator(lambda _port: STRANGER)
    yield it
    for name in list(it._kept):
        it.release(name)


def test_the_preferred_port_is_taken_if_it_is_free(book: PortAllocator) -> None:
    port = free_port()
    assert book.choose("web", a_wish(port)) == Endpoint("127.0.0.1", port, usual=True)


@pytest.mark.parametrize("address", EVERYWHERE)
def test_port_held_on_any_family_or_wildcard_is_not_free_and_names_holder(book: PortAllocator, address: str) -> None:
    with listening(address) as port:
        found = book.choose("web", a_wish(port))
        assert found.port != port
        assert (found.wanted, found.holder) == (port, STRANGER)


def test_a_strict_port_is_taken_or_its_holder_named(book: PortAllocator) -> None:
    current, last = free_port(), free_port()
    with listening("127.0.0.1") as port:
        wish = a_wish(port, current=current, last=lambda: last, strict=True)
        with pytest.raises(PortUnavailableError, match="a stranger") as caught:
            book.choose("web", wish)
    assert f"web: port {port} is taken by a stranger (pid 7, user them)" in caught.value.message
    holder = {"pid": 7, "command": "a stranger", "user": "them", "ours": False}
    assert caught.value.data == {"service": "web", "port": port, "holder": holder, "reason": caught.value.problem}
    assert book.choose("web", wish) == Endpoint("127.0.0.1", port, usual=True)


def test_a_strict_port_of_another_service_is_not_taken(book: PortAllocator) -> None:
    port = free_port()
    book.choose("web", a_wish(port))
    with pytest.raises(PortUnavailableError, match="taken by the service web of this sidecar"):
        book.choose("api", a_wish(port, strict=True))


def test_a_strict_port_that_nobody_can_be_named_for_is_not_free() -> None:
    with (
        listening("127.0.0.1") as port,
        pytest.raises(PortUnavailableError, match=f"port {port} is not free") as caught,
    ):
        PortAllocator(lambda _port: None).choose("web", a_wish(port, strict=True))
    assert caught.value.data == {"service": "web", "port": port, "reason": caught.value.problem}


def test_connections_in_time_wait_are_nobody(book: PortAllocator) -> None:
    with listening("127.0.0.1") as port, socket.create_connection(("127.0.0.1", port)) as client:
        pass
    with socket.create_server(("127.0.0.1", port)) as server, socket.create_connection(("127.0.0.1", port)) as client:
        peer, _ = server.accept()
        peer.close()  # closed first, so that this side stays in TIME_WAIT
        assert client.recv(1) == b""
    assert book.choose("web", a_wish(port)).port == port


def test_the_order_is_the_current_one_the_preferred_one_the_last_one(book: PortAllocator) -> None:
    current, preferred, last = free_port(), free_port(), free_port()
    with ExitStack() as stack:
        wish = a_wish(preferred, current=current, last=lambda: last)
        assert book.choose("web", wish).port == current
        stack.enter_context(listening("127.0.0.1", current))
        assert book.choose("web", wish).port == preferred
        stack.enter_context(listening("127.0.0.1", preferred))
        assert book.choose("web", wish).port == last
        stack.enter_context(listening("127.0.0.1", last))
        assert book.choose("web", wish).port not in (current, preferred, last)


def test_the_last_one_is_asked_for_only_when_it_is_needed(book: PortAllocator) -> None:
    def last() -> int:
        raise AssertionError("it reads a file")

    book.choose("web", a_wish(free_port(), last=last))


def test_two_services_never_get_the_same_though_neither_listens_yet(book: PortAllocator) -> None:
    port = free_port()
    assert book.choose("web", a_wish(port)).port == port
    second = book.choose("api", a_wish(port))
    assert second.port != port
    assert second.holder == Holder(command="the service web of this sidecar", ours=True)
    book.release("web")
    assert book.choose("docs", a_wish(port)).port == port


def test_kept_port_refuses_a_plain_bind_but_a_server_can_listen(book: PortAllocator) -> None:
    port = book.choose("web", a_wish(free_port(), keep=True)).port
    with socket.socket() as careless:
        with pytest.raises(OSError, match="in use") as caught:
            careless.bind(("127.0.0.1", port))
        assert caught.value.errno == errno.EADDRINUSE
    with listening("127.0.0.1", port):  # create_server sets SO_REUSEADDR, as node does
        pass
    book.release("web")
    with socket.socket() as careless:
        careless.bind(("127.0.0.1", port))


def test_who_wishes_for_none_gets_one(book: PortAllocator) -> None:
    found = book.choose("web", a_wish(None))
    assert found.port > 0
    assert found.wanted is None


@pytest.mark.parametrize("host", ["nowhere.invalid", "not a host", "", "ä.invalid"])
def test_a_host_that_is_no_address_is_an_error(book: PortAllocator, host: str) -> None:
    with pytest.raises(PortUnavailableError):
        book.choose("web", a_wish(8000, host=host or "256.0.0.1"))


def test_an_address_of_another_machine_is_an_error(book: PortAllocator) -> None:
    with pytest.raises(PortUnavailableError):
        book.choose("web", a_wish(None, host="192.0.2.1"))


def refusing(number: int) -> Callable[[socket.AddressFamily, str, int], socket.socket]:
    real = ports.bind

    def bind(family: socket.AddressFamily, address: str, port: int) -> socket.socket:
        if 0 < port < 1024:
            raise OSError(number, os.strerror(number))
        return real(family, address, port)

    return bind


def test_a_port_that_this_user_may_not_open_is_held_by_the_system(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ports, "bind", refusing(errno.EACCES))
    found = PortAllocator(lambda _port: None).choose("web", a_wish(80))
    assert found.port != 80
    assert found.holder == Holder(command="the system: this user may not open ports below 1024")


def test_a_strict_port_that_the_system_refuses_has_no_program_to_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ports, "bind", refusing(errno.EACCES))
    with pytest.raises(PortUnavailableError) as caught:
        PortAllocator(lambda _port: None).choose("web", a_wish(80, strict=True))
    assert caught.value.message == (
        f"web: port 80 is taken by {ports.THE_SYSTEM}, and port.strict allows no other port. "
        "Name another port in port.preferred."
    )


def test_a_family_that_does_not_exist_here_takes_no_port_away(
    monkeypatch: pytest.MonkeyPatch, book: PortAllocator
) -> None:
    real = ports.bind

    def bind(family: socket.AddressFamily, address: str, port: int) -> socket.socket:
        if family == socket.AF_INET6:
            raise OSError(errno.EAFNOSUPPORT, "no IPv6")
        return real(family, address, port)

    monkeypatch.setattr(ports, "bind", bind)
    port = free_port()
    assert book.choose("web", a_wish(port)).port == port


def test_where_no_port_is_free_everywhere_the_tries_have_an_end(
    monkeypatch: pytest.MonkeyPatch, book: PortAllocator
) -> None:
    monkeypatch.setattr(ports, "refusal", lambda port, addresses: OSError(errno.EADDRINUSE, "in use"))
    with pytest.raises(PortUnavailableError, match="No port is free"):
        book.choose("web", a_wish(None))


# ── the kernel's tables ──────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("address", EVERYWHERE)
def test_a_listener_is_found_with_its_address_its_user_and_its_owner(address: str) -> None:
    with listening(address) as port:
        ((at, inode, user),) = sockets.listeners(port)
        assert (at, user) == (address, os.geteuid())
        assert inode in sockets.sockets_of(os.getpid())
    assert sockets.listeners(port) == []


@pytest.mark.parametrize("address", ["127.0.0.1", "0.0.0.0"])
def test_an_IPv4_address_in_an_IPv6_socket_is_told_as_IPv4(address: str) -> None:
    """Java binds its sockets like this."""
    with listening(f"::ffff:{address}") as port:
        assert [it[0] for it in sockets.listeners(port)] == [address]


def test_a_kernel_without_IPv6_has_one_table(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    with listening("127.0.0.1") as port:
        ipv4, _ = sockets.TABLES
        monkeypatch.setattr(sockets, "TABLES", (ipv4, (str(tmp_path / "none"), socket.AF_INET6)))
        assert [it[0] for it in sockets.listeners(port)] == ["127.0.0.1"]


@pytest.mark.parametrize("closed", [0, 1])
def test_a_table_that_is_closed_to_us_is_not_taken_for_an_empty_one(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, closed: int
) -> None:
    """The test puts a folder in the file's place, which not even root can read as a file."""
    tables = list(sockets.TABLES)
    tables[closed] = (str(tmp_path), tables[closed][1])
    monkeypatch.setattr(sockets, "TABLES", tables)
    assert sockets.all_listeners() is None


def test_a_connection_is_no_listener() -> None:
    with listening("127.0.0.1") as port, socket.create_connection(("127.0.0.1", port)) as client:
        assert sockets.listeners(client.getsockname()[1]) == []
        assert len(sockets.listeners(port)) == 1


@pytest.mark.parametrize(
    ("address", "bound", "reached"),
    [
        ("127.0.0.1", ["127.0.0.1", "0.0.0.0"], ["127.0.0.1"]),
        ("127.0.0.1", ["0.0.0.0", "::1"], ["0.0.0.0"]),
        ("127.0.0.1", ["::", "0.0.0.0"], ["0.0.0.0"]),
        ("127.0.0.1", ["::"], ["::"]),
        ("::1", ["0.0.0.0", "::"], ["::"]),
        ("::1", ["127.0.0.1"], []),
    ],
)
def test_a_connection_reaches_whoever_is_bound_most_closely(address: str, bound: list[str], reached: list[str]) -> None:
    assert [it[0] for it in shared.reached_at([(at, "1", 0) for at in bound], address)] == reached


def test_a_process_that_is_gone_has_no_sockets_and_no_command() -> None:
    pid = os.fork()
    if pid == 0:
        os._exit(0)
    os.waitpid(pid, 0)
    assert sockets.sockets_of(pid) == set()
    assert shared.command_of(pid) is None


@pytest.mark.parametrize(
    ("host", "found"),
    [
        ("127.0.0.1", (socket.AF_INET, "127.0.0.1")),
        ("0.0.0.0", (socket.AF_INET, "0.0.0.0")),
        ("::1", (socket.AF_INET6, "::1")),
        ("0:0:0:0:0:0:0:1", (socket.AF_INET6, "::1")),
    ],
)
def test_an_address_is_not_looked_up_as_a_name(
    host: str, found: tuple[socket.AddressFamily, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """On macOS the resolver talks to another process, which is not safe after a fork."""
    monkeypatch.setattr(socket, "getaddrinfo", Mock(side_effect=AssertionError("it was looked up")))
    assert ports.resolve(host, 80) == [found]


@pytest.mark.parametrize("host", ["localhost", "127.1"])
def test_what_is_no_address_is_looked_up(host: str) -> None:
    assert "127.0.0.1" in [address for _, address in ports.resolve(host, 80)]


@pytest.mark.parametrize("host", ["a\0b", "ä"])
def test_a_name_that_means_nothing_is_an_error(host: str) -> None:
    with pytest.raises(PortUnavailableError):
        ports.resolve(host, 80)


@pytest.mark.parametrize("error", [psutil.NoSuchProcess(1), OSError(errno.ENOMEM, "no memory")])
def test_a_command_line_that_cannot_be_read_now_is_none(error: Exception, monkeypatch: pytest.MonkeyPatch) -> None:
    """On macOS psutil raises OSError with ENOMEM."""
    monkeypatch.setattr(psutil.Process, "cmdline", Mock(side_effect=error))
    assert shared.command_of(os.getpid()) is None
