"""Phones: no sidecar runs there, so their dev server is the one of the developer's machine.

Tauri's CLI merges ``tauri.android.conf.json`` or ``tauri.ios.conf.json`` over the configuration, runs its
``beforeDevCommand`` before it builds, and waits for ``devUrl``. Where the phone needs the machine's own address, the
CLI puts that into ``devUrl`` and says it in ``TAURI_DEV_HOST``, which ``sidecar dev`` listens on. The app finds no
section of the plugin there, so that the plugin starts nothing, and no binary of a phone's is wanted.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from msgspec import Struct

from sidecar.init import binary
from sidecar.tauri import project

_TARGETS = {"android": "gen/android", "ios": "gen/apple"}


class Phone(Struct, frozen=True):
    """One of the systems that the project is made for."""

    name: str
    file: Path
    """Its configuration: the one that is there, or the one to be made."""


def find(folder: Path) -> Iterator[Phone]:
    """Those that ``tauri android init`` or ``ios init`` has made a project for, or that have a file of their own."""
    for name, generated in _TARGETS.items():
        names = (f"tauri.{name}.conf.json", f"tauri.{name}.conf.json5", f"Tauri.{name}.toml")
        there = next((folder / each for each in names if (folder / each).is_file()), None)
        if there is not None or (folder / generated).is_dir():
            yield Phone(name, there or folder / names[0])


def command(dev_url: str) -> dict[str, Any] | None:
    """What starts the dev server for a phone; ``None`` where ``devUrl`` names no port."""
    try:
        url = urlsplit(dev_url)
        told = url.port
    except ValueError:
        return None  # Tauri will say what is wrong with it
    port = told or {"http": 80, "https": 443}.get(url.scheme)
    if port is None:
        return None
    return {"script": f"{binary.command_in_folder()} dev --port {port} --strict-port", "cwd": "."}


def has_command(phone: Phone) -> bool:
    """Whether its own configuration says already what starts its dev server."""
    if not phone.file.is_file():
        return False
    build = project.parse_file(phone.file).get("build")
    return isinstance(build, dict) and "beforeDevCommand" in build
