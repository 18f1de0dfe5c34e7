"""The program after ``--``. Light: wrong usage is told before the guard is forked."""

from __future__ import annotations

MARKS = ("{port}", "{host}", "{url}")


def uses_port(program: list[str]) -> bool:
    """Whether a port has to be chosen for these words."""
    return any(mark in word for word in program for mark in MARKS)
