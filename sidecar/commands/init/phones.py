"""Set up phones. No sidecar runs there, so the page comes from a dev server on the developer's machine.

Tauri's CLI merges ``tauri.android.conf.json`` or ``tauri.ios.conf.json`` over the configuration, runs its
``beforeDevCommand`` before it builds, and waits for ``devUrl``. If the phone needs the machine's address, the CLI puts
it into ``devUrl`` and into ``TAURI_DEV_HOST``; ``sidecar dev`` then listens there. The file for the phone removes the
plugin's section, so that the plugin starts nothing on the phone and the app needs no binary.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from msgspec import Struct

from sidecar.commands.init import binary
from sidecar.files import is_file, is_folder
from sidecar.tauri import project

_TARGETS = {"android": "gen/android", "ios": "gen/apple"}


class Phone(Struct, frozen=True):
    """A mobile system (android or ios) that the project supports."""

    name: str
    file: Path
    """Its configuration file, which may not exist yet."""


def find(folder: Path) -> Iterator[Phone]:
    """Yield the systems with a project from ``tauri android init`` or ``ios init``, or with a configuration file."""
    for name, generated in _TARGETS.items():
        names = (f"tauri.{name}.conf.json", f"tauri.{name}.conf.json5", f"Tauri.{name}.toml")
        there = next((folder / each for each in names if is_file(folder / each)), None)
        if there is not None or is_folder(folder / generated):
            yield Phone(name, there or folder / names[0])


def command(dev_url: str, external: str) -> dict[str, Any] | None:
    """Return the ``beforeDevCommand`` for a phone; ``None`` if ``devUrl`` has no port. ``external`` is our binary."""
    try:
        url = urlsplit(dev_url)
        told = url.port
    except ValueError:
        return None  # Tauri will report the wrong URL
    port = told or {"http": 80, "https": 443}.get(url.scheme)
    if port is None:
        return None
    return {"script": f"{binary.command_in_folder(external)} dev --port {port} --strict-port", "cwd": "."}


def has_command(phone: Phone) -> bool:
    """Tell whether the phone's own configuration already has a ``beforeDevCommand``."""
    if not is_file(phone.file):
        return False
    build = project.parse_file(phone.file).get("build")
    return isinstance(build, dict) and "beforeDevCommand" in build
