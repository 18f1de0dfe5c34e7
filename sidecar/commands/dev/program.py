"""The program after ``--``. This imports little: the command line is checked before the guard is forked."""

from __future__ import annotations

from sidecar.config.references import ADDRESS_FIELDS, keys_in


def uses_port(program: list[str]) -> bool:
    """Tell whether these words need a port to be chosen."""
    return any(key in ADDRESS_FIELDS for word in program for key in keys_in(word))
