"""macOS as ``ps``, ``clean`` and ``doctor`` see it."""

from __future__ import annotations

import sys
from collections.abc import Callable

assert sys.platform != "win32"  # for mypy: kqueue and sessions

from sidecar.host import runs
from sidecar.host.darwin import lsof, sweep
from sidecar.host.darwin.kin import System
from sidecar.host.darwin.layers import find_layers
from sidecar.host.darwin.notices import Notices
from sidecar.host.darwin.runs import Sight
from sidecar.host.leftovers import Leftovers
from sidecar.host.runs import Overview
from sidecar.host.survey import Layer
from sidecar.wire.messages import Holder, SupervisorSwept


class DarwinSurvey:
    """See ``sidecar.host.survey.Survey``."""

    def __init__(self, system: System, make_notices: Callable[[], Notices], boot_id: str) -> None:
        """``boot_id`` tells this boot from all others."""
        self._system = system
        self._make_notices = make_notices
        self._boot_id = boot_id

    def overview(self) -> Overview:
        """See ``Survey``."""
        return runs.look(Sight(self._system, self._boot_id))

    def find(self) -> Leftovers:
        """See ``Survey``."""
        return sweep.find(self._system, self._boot_id)

    def end(self, left: Leftovers) -> SupervisorSwept | None:
        """See ``Survey``."""
        return sweep.end(self._system, left)

    def holder_of(self, port: int) -> Holder | None:
        """See ``Survey``."""
        return lsof.holder_of(self._system, port)

    def find_layers(self) -> list[Layer]:
        """See ``Survey``."""
        return find_layers(self._system, self._make_notices)
