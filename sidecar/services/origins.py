"""Find out which process listens at a web origin. No answer comes from an earlier look. One thread answers all.

A look takes from a tenth of a millisecond (Linux, the program itself listens) to 50 ms (macOS, if we have to ask lsof),
so the loop does not wait for it. There is only one look at a time. Questions about the same host and port that wait
together share a look, which begins after all of them came. So no answer is older than its question.
"""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable

from sidecar.core.events import FindOwner, OwnerFound
from sidecar.diagnostics import say
from sidecar.errors import PortUnavailableError, SystemFailureError
from sidecar.host.base import FOREIGN, UNKNOWN, Claim, Host, joined
from sidecar.services.ports import resolve
from sidecar.threads import start_thread

LOCALHOST = ("127.0.0.1", "::1")
"""The addresses of ``localhost`` for browsers, whatever the resolver says (RFC 6761, 6.3)."""


class OwnerLooks:
    """Answers each question once, through the inbox. Its thread lives while there are questions."""

    def __init__(self, host: Host, tell: Callable[[OwnerFound], None]) -> None:
        """``tell`` gets the answers."""
        self._host = host
        self._tell = tell
        self._lock = threading.Lock()
        self._waiting: list[FindOwner] = []
        self._looking = False

    def ask(self, question: FindOwner) -> None:
        """Queue a question. Never waits for a look."""
        with self._lock:
            self._waiting.append(question)
            if self._looking:
                return
            self._looking = True
        try:
            start_thread("origins", self._work)
        except SystemFailureError as error:
            say("warning", f"an origin cannot be checked: {error.message}")
            for it in self._next():
                self._tell(OwnerFound(it.number, UNKNOWN.owner))
            self._next()

    def _work(self) -> None:
        while waiting := self._next():
            found: dict[tuple[str, int], Claim] = {}
            for it in waiting:
                where = (it.host, it.port)
                if where not in found:
                    found[where] = self._look(*where)
                self._tell(OwnerFound(it.number, found[where].owner, found[where].service))

    def _next(self) -> list[FindOwner]:
        """Take the waiting questions. If there are none, the thread ends."""
        with self._lock:
            waiting, self._waiting = self._waiting, []
            self._looking = bool(waiting)
            return waiting

    def _look(self, host: str, port: int) -> Claim:
        try:
            return owner_at(self._host, host, port)
        except OSError as error:
            # EMFILE, ENFILE, ENOMEM, EAGAIN: no look is possible now
            say("warning", f"the owner of port {port} cannot be found now: {error.strerror}")
            return UNKNOWN
        except Exception as error:  # noqa: BLE001  answer even after a fault of ours: a request waits for it
            say("error", f"the owner of port {port} cannot be found: {error!r}. Please report this.")
            return UNKNOWN


def owner_at(host: Host, name: str, port: int) -> Claim:
    """Find what takes connections to the port at every address of the name. Raises ``OSError`` as ``Host.owner_of``."""
    try:
        addresses = LOCALHOST if name == "localhost" else tuple(address for _, address in resolve(name, port))
    except PortUnavailableError:
        return UNKNOWN  # the host is a service's, but the resolver does not answer now
    return joined(host.owner_of(it, port) if is_ours(it) else FOREIGN for it in addresses)


def is_ours(address: str) -> bool:
    """Tell whether a connection to the address stays on this machine.

    A socket on a wildcard takes connections to this machine's addresses, but none to another machine's.
    """
    if address == "::1" or address.startswith("127."):
        return True
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with socket.socket(family, socket.SOCK_DGRAM) as sock:
        try:
            sock.connect((address, 9))  # sends nothing: the kernel only chooses the route, and so our own address
        except OSError:
            return False  # ENETUNREACH, EHOSTUNREACH, EADDRNOTAVAIL: there is no route
        return bool(sock.getsockname()[0] == address)
