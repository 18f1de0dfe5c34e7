"""The source of the plugin's crate for cargo, as ``--plugin`` names it."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any

from sidecar import __version__
from sidecar.commands.init.binary import checkout
from sidecar.errors import ConfigurationError
from sidecar.files import FILE_BYTES_MOST, read_head, unkept

CRATE = "tauri-plugin-sidecar"
HELPER = "tauri-sidecar-build"
"""The crate that puts the binary in place when the app is built."""
MAC_FOLDER = "binaries/sidecar-folder"
MAC_PLACE = "Resources/sidecar"
"""The place in a macOS app's bundle of the folder that the helper unpacks from the binary."""

_VERSION = re.compile(r"[=^~<>]{0,2}\s*\d[\w.*+-]*")
_SOURCES = frozenset({"version", "git", "branch", "tag", "rev", "registry"})
_NAME = re.compile(rf'^name\s*=\s*"{CRATE}"', re.MULTILINE)


def requirement(plugin: str | None, folder: Path) -> str | dict[str, Any]:
    """Return the dependency's value for the Cargo.toml of ``folder``.

    Without ``plugin`` it is the crate of our own version, or the checkout's crate if we run from one. Raises
    ``ConfigurationError``.
    """
    if plugin is None:
        source = checkout()
        return {"path": _path(source / "tauri-integration" / "plugin", folder)} if source else __version__
    if "://" in plugin or plugin.endswith(".git"):
        return {"git": plugin}
    path = Path(plugin)
    with unkept():  # the user names this path, not the project
        manifest = read_head(str(path / "Cargo.toml"), FILE_BYTES_MOST)
    if _NAME.search(manifest.decode("utf-8", "replace")):
        return {"path": _path(path, folder)}
    if _VERSION.fullmatch(plugin):
        return plugin
    raise ConfigurationError(f"--plugin {plugin}: this is not a folder with {CRATE}, a URL or a version.")


def dead_path(dependency: object, folder: Path) -> str | None:
    """Return the dependency's path, as in the Cargo.toml of ``folder``, if there is no crate."""
    path = dependency.get("path") if isinstance(dependency, dict) else None
    return path if isinstance(path, str) and not (folder / path / "Cargo.toml").is_file() else None


def helper(dependency: object) -> str | dict[str, Any] | None:
    """Return where to get the helper, like the plugin; ``None`` if other clones of the project could not get it."""
    if isinstance(dependency, str):
        return dependency
    if not isinstance(dependency, dict) or "path" in dependency:
        return None
    return {key: value for key, value in dependency.items() if key in _SOURCES} or None


def is_published(dependency: object) -> bool:
    """Tell whether the plugin comes from crates.io. Then npm and PyPI have packages of its version, too."""
    if isinstance(dependency, dict):
        return "version" in dependency and not {"path", "git", "registry"} & set(dependency)
    return isinstance(dependency, str)


def _path(path: Path, folder: Path) -> str:
    """Return a relative path if the two share more than the root of the disk, else an absolute one."""
    here, there = folder.resolve(), path.resolve()
    near = here.anchor == there.anchor and here.parts[1:2] == there.parts[1:2]
    return (Path(os.path.relpath(there, here)) if near else there).as_posix()
