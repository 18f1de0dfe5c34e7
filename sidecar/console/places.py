"""Find where a program listens that was told no port, such as the one of ``sidecar dev -- npm run dev``."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial

from sidecar.config import ServerReady, url_of
from sidecar.events import Endpoint
from sidecar.host.base import Host
from sidecar.host.ports import WILDCARD_V6
from sidecar.host.probe import attempt

PAUSES_S = (*(0.25,) * 40, *(1.0,) * 50)
"""Between two looks at the program's sockets. A dev server that compiles first may listen after a minute."""

ASK_S = 2.0
"""So long may an answer take."""

ASKS_MOST = 3
"""So often a port is asked: a database would write a line for each, and never speak HTTP."""

Look = Callable[[], tuple[tuple[str, int], ...] | None]
"""The addresses and ports on which the program listens now; ``None``: that cannot be read."""
Ask = Callable[[str, int], str | None]
"""The URL of what answers there; ``None`` if nothing does that speaks HTTP."""


def find_places(
    look: Look,
    ask: Ask,
    lives: Callable[[], bool],
    tell: Callable[[str, int, str], None],
    wait: Callable[[float], None] = time.sleep,
) -> None:
    """``tell`` once of each port that answers, with its address and URL, while the program ``lives``."""
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
    """``find_places`` for the services of ``host``, by name."""

    def find(service: str, lives: Callable[[], bool], tell: Callable[[str, int, str], None]) -> None:
        find_places(partial(host.listening, service), partial(_ask, host, service), lives, tell)

    return find


def _ask(host: Host, service: str, address: str, port: int) -> str | None:
    if address == WILDCARD_V6 and (url := _ask(host, service, "127.0.0.1", port)) is not None:
        return url  # on most machines it takes both; people know this address better
    answer = attempt(ServerReady(), Endpoint(address, port), partial(host.owns, service), ASK_S)
    return url_of(address, port, answer.scheme) if answer.verdict == "ok" and answer.scheme else None
