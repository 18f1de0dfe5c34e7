"""System calls that Python does not know, by their function in the C library."""

from __future__ import annotations

import os


def call(function: str, *arguments: int | bytes) -> int:
    """What it returns. Raises ``OSError``."""
    import ctypes  # loaded only where something is called

    library = ctypes.CDLL(None, use_errno=True)
    result: int = library[function](*arguments)
    if result == -1:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
    return result
