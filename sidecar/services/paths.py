"""Paths in a service's configuration."""

from __future__ import annotations

import os

from sidecar.errors import ProjectNotFoundError


def plain_path(name: str, folder: str) -> str:
    """Return the absolute path of ``folder``. Remove ``..`` unless that leads elsewhere, as after a symbolic link.

    Raises ``ProjectNotFoundError`` for a relative path if the working folder is gone.
    """
    try:
        named = folder if os.path.isabs(folder) else os.path.join(os.getcwd(), folder)
    except FileNotFoundError:
        raise ProjectNotFoundError(
            f"{name}: the folder in which the sidecar was started has been removed, so there is no {folder} in it.",
            "Start the sidecar in another folder, or give an absolute path.",
            service=name,
        ) from None
    path = os.path.abspath(folder)
    return path if os.path.realpath(path) == os.path.realpath(named) else named
