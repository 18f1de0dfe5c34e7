"""What came of one kill of ``doctor --prove``."""

from __future__ import annotations

from sidecar.wire.messages import Wire


class Trial(Wire, frozen=True, omit_defaults=False, kw_only=True):
    """One row of the table."""

    killed: str
    claims: tuple[str, ...]
    """The guarantees of ``initialize`` that speak of it, and are active here."""
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
