"""The outcome of the kills of ``doctor --prove``."""

from __future__ import annotations

from sidecar.protocol.messages import Wire


class Untried(Wire, frozen=True, omit_defaults=False):
    """A layer that is active here but that no trial tested."""

    name: str
    why: str


class Trial(Wire, frozen=True, omit_defaults=False, kw_only=True):
    """One row of the table."""

    killed: str
    claims: tuple[str, ...]
    """The guarantees that this trial tests: each is active here, and without any one of them it would fail."""
    processes: int
    """The number of processes in all trees."""
    milliseconds: float
    """From the kill to the last death before the next start."""
    until_next_start: int
    """How many lived on until the next start. This is 0 unless no process of the sidecar was left to end them."""
    sweep_milliseconds: float | None
    """From the next start's launch to the last death."""
    survivors: tuple[str, ...]
    """Survivors that should be dead."""
    excused: tuple[str, ...]
    """Survivors that are expected: without a control group, daemons that scrubbed their environment."""
    traces: tuple[str, ...]
    """Records and control groups that remained."""
    problem: str | None = None
    """Why the trial was not possible."""

    @property
    def held(self) -> bool:
        """Tell whether the claim is true."""
        return not (self.survivors or self.traces or self.problem)
