"""Everything about a project that ``sidecar init`` has to know. ``detect`` fills it in."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from msgspec import Struct, field

from sidecar.commands.init import binary
from sidecar.commands.init.dev_command.meaning import Start
from sidecar.errors import ConfigurationError

WINDOW = "main"
"""Tauri's name for a window without one. The plugin moves the window of this name."""


class NotUnderstoodError(ConfigurationError):
    """The project does not have a shape that can be edited safely."""

    def __init__(self, reasons: list[str], steps: list[str] | None = None) -> None:
        """Keep all ``reasons``, and the ``steps`` to do by hand."""
        super().__init__("; ".join(reasons))
        self.reasons = reasons
        self.steps = steps or []


class Capability(Struct):
    """The capability that the window has."""

    file: Path
    place: tuple[str | int, ...]
    """Its place in the file, which may have several capabilities."""
    permissions: list[Any]


class Found(Struct):
    """A project, as ``detect`` found it."""

    root: Path
    folder: Path
    """The folder with the Tauri configuration."""
    front: Path
    """The folder with package.json."""
    home: Path
    """The project's own folder, without links. Edits read and write nothing outside of it."""
    config_file: Path
    config: dict[str, Any]
    """The content of ``config_file`` alone, without the platforms' files, because edits go there."""
    package: dict[str, Any]
    has_package: bool
    """Whether there is a package.json in a folder where Tauri's CLI finds the app."""
    cargo: dict[str, Any]
    source: Path
    """The Rust file that builds the app."""
    manager: str
    cli: str
    dev_url: str | None
    service: dict[str, Any]
    """The dev server's entry for ``plugins.sidecar.services``."""
    title: str
    """The dev server's name, as people write it."""
    start: Start | None
    """The dev server that ``beforeDevCommand`` starts, if the service replaces it."""
    dev_command: Any
    """With ``start``: the new ``beforeDevCommand``, or ``None`` to remove it."""
    has_section: bool
    capability: Capability | None
    locked_tauri: tuple[int, ...] | None
    notes: list[str] = field(default_factory=list)
    reasons: list[str] = field(default_factory=list)
    """The reasons against editing."""

    @property
    def external_bin(self) -> str:
        """The sidecar's entry of ``bundle.externalBin``. It may not be there yet."""
        return binary.external_bin(self.config, str(section(self.cargo, "package").get("name", "")))

    @property
    def released(self) -> list[str]:
        """The services that a release starts, so that it has to ship the sidecar. Dev servers are not among them."""
        there = section(section(section(self.config, "plugins"), "sidecar"), "services")
        services = there if self.has_section else {"web": self.service}
        return [name for name, it in services.items() if isinstance(it, dict) and _is_released(it)]


def _is_released(service: Mapping[str, Any]) -> bool:
    release = service.get("release")
    kind = release.get("type", service.get("type")) if isinstance(release, dict) else service.get("type")
    return release is not False and kind in {"command", "task"}


def section(config: Mapping[str, Any], name: str) -> dict[str, Any]:
    """Return a member that is an object; an empty object if it is missing, or is not one."""
    found = config.get(name)
    return found if isinstance(found, dict) else {}
