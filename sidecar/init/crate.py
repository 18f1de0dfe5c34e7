"""What ``--plugin`` says: where cargo gets the crate from."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any

from sidecar.errors import ConfigurationError
from sidecar.init.binary import checkout

CRATE = "tauri-plugin-sidecar"

_VERSION = re.compile(r"[=^~<>]{0,2}\s*\d[\w.*+-]*")
_NAME = re.compile(rf'^name\s*=\s*"{CRATE}"', re.MULTILINE)


def requirement(plugin: str | None, folder: Path) -> str | dict[str, Any]:
    """The dependency's value in the Cargo.toml of ``folder``.

    Without ``plugin`` it is the crate of the checkout that we run from. Raises ``ConfigurationError``.
    """
    if plugin is None:
        source = checkout()
        if source is None:
            raise ConfigurationError(
                f"The crate {CRATE} is on no registry yet, and this sidecar does not run from a checkout that has it. "
                "Say where it is: --plugin PATH (tauri-integration/plugin of a checkout), or --plugin URL of a git "
                "repository that has it."
            )
        return {"path": _path(source / "tauri-integration" / "plugin", folder)}
    if "://" in plugin or plugin.endswith(".git"):
        return {"git": plugin}
    path = Path(plugin)
    if (path / "Cargo.toml").is_file() and _NAME.search((path / "Cargo.toml").read_text("utf-8", "replace")):
        return {"path": _path(path, folder)}
    if _VERSION.fullmatch(plugin):
        return plugin
    raise ConfigurationError(f"--plugin {plugin}: this is no folder with {CRATE}, no URL and no version.")


def _path(path: Path, folder: Path) -> str:
    """Relative where the two have more in common than the root of the disk."""
    here, there = folder.resolve(), path.resolve()
    near = here.anchor == there.anchor and here.parts[1:2] == there.parts[1:2]
    return (Path(os.path.relpath(there, here)) if near else there).as_posix()
