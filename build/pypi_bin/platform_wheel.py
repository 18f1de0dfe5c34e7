"""Hatchling's hook: add the binary to the wheel, with the platform's tag that build/dist.py has found."""

from __future__ import annotations

import os
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface


class PlatformWheel(BuildHookInterface[Any]):
    """Any Python may install it, on this platform only."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:  # noqa: ARG002 (hatchling's signature)
        """Name the file and the tag."""
        binary = os.environ["SIDECAR_BINARY"]
        name = "sidecar.exe" if binary.endswith(".exe") else "sidecar"
        build_data["pure_python"] = False
        build_data["tag"] = f"py3-none-{os.environ['SIDECAR_WHEEL_TAG']}"
        build_data["force_include"][binary] = f"tauri_sidecar_bin/{name}"
