"""What came of the kills of ``doctor --prove``."""

from __future__ import annotations

from sidecar.wire.messages import Wire


class Untried(Wire, frozen=True, omit_defaults=False):
    """A layer that is active here, and of which no trial says whether it holds."""

    name: str
    why: str


class Trial(Wire, frozen=True, omit_defaults=False, kw_only=True):
    """One row of the table."""

    killed: str
    claims: tuple[str, ...]
    """The guarantees of ``initialize`` that are active here, and without each of which it could not hold."""
    processes: int
    """So many the trees had."""
    milliseconds: float
    """From the kill to the last death (before a next start)."""
    until_next_start: int
    """So many lived until a next start: only where guard and supervisor died at once."""
    sweep_milliseconds: float | None
    """From the next start's launch to the last death."""
    survivors: tuple[str, ...]
    """Who lived in the end: all that should not have."""
    excused: tuple[str, ...]
    """Who lived in the end, as is said: without a control group, daemons that scrubbed their environment."""
    traces: tuple[str, ...]
    """Records and control groups that were left."""
    problem: str | None = None
    """Why the trial could not be made at all."""

    @property
    def held(self) -> bool:
        """Whether what is claimed is so."""
        return not (self.survivors or self.traces or self.problem)
