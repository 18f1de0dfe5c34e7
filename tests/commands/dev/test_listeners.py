"""Find where a program listens that was told no port."""

from __future__ import annotations

from sidecar.commands.dev.listeners import ASKS_MOST, PAUSES_S, find_places


def test_each_port_that_answers_is_told_once() -> None:
    looks = iter([(), (("127.0.0.1", 5173),), (("127.0.0.1", 5173), ("::1", 5173), ("::", 3000))])
    told: list[tuple[str, int, str]] = []

    def look() -> tuple[tuple[str, int], ...]:
        return next(looks, ())

    find_places(
        look,
        lambda address, port: f"http://{address}:{port}/",
        lambda: True,
        lambda *place: told.append(place),
        lambda _s: None,
    )
    assert told == [("127.0.0.1", 5173, "http://127.0.0.1:5173/"), ("::", 3000, "http://:::3000/")]


def test_a_port_that_speaks_no_http_is_asked_a_few_times_only() -> None:
    asked: list[int] = []

    def ask(_address: str, port: int) -> None:
        asked.append(port)

    find_places(lambda: (("127.0.0.1", 5432),), ask, lambda: True, lambda *_: None, lambda _s: None)
    assert asked == [5432] * ASKS_MOST


def test_nothing_is_looked_at_after_the_program_has_ended() -> None:
    waits: list[float] = []
    find_places(lambda: 1 / 0, lambda *_: None, lambda: False, lambda *_: None, waits.append)  # type: ignore[arg-type, return-value]
    assert waits == [PAUSES_S[0]]


def test_sockets_that_cannot_be_read_tell_nothing() -> None:
    told: list[object] = []
    find_places(lambda: None, lambda *_: "x", lambda: True, lambda *it: told.append(it), lambda _s: None)
    assert told == []
