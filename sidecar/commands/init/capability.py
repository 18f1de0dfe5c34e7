"""Find the capability of a project that can give its main window the plugin's permissions."""

from __future__ import annotations

from collections.abc import Iterator
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from sidecar.commands.init.found import WINDOW, Capability, section
from sidecar.files import files_below
from sidecar.tauri import project


def find_capability(folder: Path, config: dict[str, Any]) -> Capability | None:
    """Return the capability of the window's own pages: ``default`` if there is one, else the first."""
    enabled = section(section(config, "app"), "security").get("capabilities")
    names = {name for name in enabled if isinstance(name, str)} if isinstance(enabled, list) and enabled else None
    found = [
        (each.get("identifier") != "default", Capability(file, place, each["permissions"]))
        for file, place, each in _capabilities(folder)
        if isinstance(each.get("permissions"), list)
        and each.get("local", True) is True
        and any(isinstance(name, str) and fnmatchcase(WINDOW, name) for name in each.get("windows", ()))
        and (names is None or each.get("identifier") in names)
    ]
    return min(found, key=lambda each: each[0])[1] if found else None


def _capabilities(folder: Path) -> Iterator[tuple[Path, tuple[str | int, ...], dict[str, Any]]]:
    for file in sorted(map(Path, files_below(folder / "capabilities"))):
        if file.suffix not in {".json", ".json5", ".toml"}:
            continue
        content = project.parse_value(file, project.read_text(file))
        listed = content if isinstance(content, list) else content.get("capabilities")
        if not isinstance(listed, list):
            yield file, (), content
            continue
        way: tuple[str | int, ...] = () if isinstance(content, list) else ("capabilities",)
        yield from ((file, (*way, at), each) for at, each in enumerate(listed) if isinstance(each, dict))
