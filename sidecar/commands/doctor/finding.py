"""A line of doctor's report."""

from __future__ import annotations

from typing import Literal

from sidecar.errors import SidecarError
from sidecar.protocol.messages import Wire

Verdict = Literal["ok", "note", "bad"]


class Finding(Wire, frozen=True, omit_defaults=False):
    """A line of the report. ``note`` is a hint and stops nothing; ``bad`` keeps a service from running."""

    subject: str
    verdict: Verdict
    found: str
    advice: str = ""


def finding_of(error: SidecarError, subject: str) -> Finding:
    """Report an error. The service's name is left out: ``subject`` says what the line is about."""
    problem = error.problem.removeprefix(f"{error.data.get('service')}: ")
    return Finding(subject, "bad", problem.removesuffix("."), error.advice)
