"""The survey of macOS, for ``ps``, ``clean`` and ``doctor``."""

from __future__ import annotations

import sys
from collections.abc import Callable

assert sys.platform != "win32"  # for mypy: kqueue and sessions

from sidecar.host import runs
from sidecar.host.darwin import orphans, sockets
from sidecar.host.darwin.kernel_events import KernelEvents
from sidecar.host.darwin.layers import find_layers
from sidecar.host.darwin.lineage import System
from sidecar.host.darwin.runs import ProcessTable
from sidecar.host.orphans import Orphans
from sidecar.host.runs import Overview
from sidecar.host.survey import Layer
from sidecar.protocol.messages import Holder, SupervisorSwept


class DarwinSurvey:
    """See ``sidecar.host.survey.Survey``."""

    def __init__(self, system: System, make_kernel_events: Callable[[], KernelEvents], boot_id: str) -> None:
        """``boot_id`` tells this boot from all others."""
        self._system = system
        self._make_kernel_events = make_kernel_events
        self._boot_id = boot_id

    def overview(self) -> Overview:
        """See ``Survey``."""
        return runs.look(ProcessTable(self._system, self._boot_id))

    def find(self) -> Orphans:
        """See ``Survey``."""
        return orphans.find(self._system, self._boot_id)

    def end(self, left: Orphans) -> SupervisorSwept | None:
        """See ``Survey``."""
        return orphans.end(self._system, left)

    def holder_of(self, port: int) -> Holder | None:
        """See ``Survey``."""
        return sockets.holder_of(self._system, port)

    def find_layers(self) -> list[Layer]:
        """See ``Survey``."""
        return find_layers(self._system, self._make_kernel_events)
