"""What a command sees and ends that supervises nothing itself: ``ps``, ``clean`` and ``doctor``."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Protocol

from sidecar.host.leftovers import Leftovers
from sidecar.host.programs import STDIN_GUARD
from sidecar.host.runs import Overview
from sidecar.wire.messages import Holder, SupervisorSwept, Wire


class Layer(Wire, frozen=True, omit_defaults=False):
    """A layer of the kill."""

    name: str
    """As ``initialize`` calls it; or the ``isolation`` that a service can ask for."""
    holds: bool
    means: str
    advice: str
    """Why it is absent, and what to do; empty where it holds."""


NO_STDIN_GUARD = (
    f"{STDIN_GUARD} is not there. Whatever tidies up where the sidecar is installed has removed it: install it anew."
)

LayerTable = Mapping[str, tuple[str, str | Callable[[], str]]]
"""Layers by their names in ``initialize``: what each means, and why it may be absent (or what finds that out)."""


def layers_of(table: LayerTable, claimed: Mapping[str, bool | str]) -> list[Layer]:
    """Those of ``table``, as ``initialize`` claims them."""
    found = []
    for name, (means, advice) in table.items():
        holds = claimed.get(name) not in {False, None, "none"}
        why = "" if holds else advice if isinstance(advice, str) else advice()
        found.append(Layer(name, holds, means, why))
    return found


class Survey(Protocol):
    """A platform, as ``host.survey`` gives it."""

    def overview(self) -> Overview:
        """All runs of this user that keep their records where we do."""
        ...

    def find(self) -> Leftovers:
        """What dead runs left. Ends and removes nothing. Raises ``OSError`` where nobody can be looked at now."""
        ...

    def end(self, left: Leftovers) -> SupervisorSwept | None:
        """End it, and what has joined it since; what was found, or ``None`` if nothing was. Raises as ``find``."""
        ...

    def holder_of(self, port: int) -> Holder | None:
        """Who listens on ``port``; ``None`` if nobody does, or nobody can be named."""
        ...

    def find_layers(self) -> list[Layer]:
        """All layers that this platform could have. Raises ``OSError`` if the system has no process to spare."""
        ...
