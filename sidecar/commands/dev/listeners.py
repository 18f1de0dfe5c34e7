"""Find the address of a program that got no port from us, such as ``npm`` in ``sidecar dev -- npm run dev``."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial

from sidecar.config.services import ServerReady, url_of
from sidecar.core.events import Endpoint
from sidecar.host.base import Host
from sidecar.services.ports import WILDCARD_V6
from sidecar.services.probe import attempt

PAUSES_S = (*(0.25,) * 40, *(1.0,) * 50)
"""Between two looks at the program's sockets. A dev server that compiles first may listen after a minute."""

ASK_S = 2.0
"""Bound on one answer."""

ASKS_MOST = 3
"""Tries for one port. A database never speaks HTTP, and logs a line for each try."""

Look = Callable[[], tuple[tuple[str, int], ...] | None]
"""Returns the addresses and ports that the program listens on now, or ``None`` if they cannot be read."""
Ask = Callable[[str, int], str | None]
"""Returns the URL if HTTP answers there, else ``None``."""


def find_places(
    look: Look,
    ask: Ask,
    lives: Callable[[], bool],
    tell: Callable[[str, int, str], None],
    wait: Callable[[float], None] = time.sleep,
) -> None:
    """Call ``tell`` once for each port that answers, with its address and URL, while the program ``lives``."""
    asked: dict[int, int] = {}
    for pause in PAUSES_S:
        wait(pause)
        if not lives():
            return
        for address, port in look() or ():
            times = asked.setdefault(port, 0)
            if times >= ASKS_MOST:
                continue
            url = ask(address, port)
            asked[port] = times + 1 if url is None else ASKS_MOST
            if url is not None:
                tell(address, port, url)


def finder(host: Host) -> Callable[[str, Callable[[], bool], Callable[[str, int, str], None]], None]:
    """Return a function like ``find_places`` for the services of ``host``. It takes a service's name."""

    def find(service: str, lives: Callable[[], bool], tell: Callable[[str, int, str], None]) -> None:
        find_places(partial(host.listening, service), partial(_ask, host, service), lives, tell)

    return find


def _ask(host: Host, service: str, address: str, port: int) -> str | None:
    if address == WILDCARD_V6 and (url := _ask(host, service, "127.0.0.1", port)) is not None:
        return url  # on most machines :: takes IPv4, too; people know this address better
    answer = attempt(ServerReady(), Endpoint(address, port), partial(host.owns, service), ASK_S)
    return url_of(address, port, answer.scheme) if answer.verdict == "ok" and answer.scheme else None
