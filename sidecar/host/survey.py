"""What ``ps``, ``clean`` and ``doctor`` need from a platform. These commands supervise nothing."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Protocol

from sidecar.host.orphans import Orphans
from sidecar.host.runs import Overview
from sidecar.host.stdin_guard import ORIGIN
from sidecar.protocol.messages import Holder, SupervisorSwept, Wire


class Layer(Wire, frozen=True, omit_defaults=False):
    """A layer of the kill."""

    name: str
    """Its name in ``initialize``, or the ``isolation`` that a service can ask for."""
    holds: bool
    means: str
    advice: str
    """Why it is absent, and what to do. Empty if it holds."""


NO_STDIN_GUARD = f"{ORIGIN} is missing: something has removed it from the installation. Install the sidecar again."

LayerTable = Mapping[str, tuple[str, str | Callable[[], str]]]
"""Each layer by its name in ``initialize``: its meaning, and why it may be absent (or a function that finds out)."""


def layers_of(table: LayerTable, claimed: Mapping[str, bool | str]) -> list[Layer]:
    """Make the layers of ``table``. ``claimed`` is what ``initialize`` claims."""
    found = []
    for name, (means, advice) in table.items():
        holds = claimed.get(name) not in {False, None, "none"}
        why = "" if holds else advice if isinstance(advice, str) else advice()
        found.append(Layer(name, holds, means, why))
    return found


class Survey(Protocol):
    """A platform, as ``host.survey`` returns it."""

    def overview(self) -> Overview:
        """Find all runs of this user in our state folder."""
        ...

    def find(self) -> Orphans:
        """Find what dead runs left. Ends and removes nothing. Raises ``OSError`` if no process can be read now."""
        ...

    def end(self, left: Orphans) -> SupervisorSwept | None:
        """End and remove what ``find`` found, and processes that have joined it since. Raises as ``find`` does.

        Return what there was; ``None`` if there was nothing.
        """
        ...

    def holder_of(self, port: int) -> Holder | None:
        """Return what listens on ``port``; ``None`` if nothing does, or the system does not name it."""
        ...

    def find_layers(self) -> list[Layer]:
        """Return all layers that this platform could have. Raises ``OSError`` if the system has no process to spare."""
        ...
