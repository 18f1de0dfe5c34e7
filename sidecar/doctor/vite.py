"""A tree of ``doctor --prove`` that ends with its stdin: node with the command line that Vite gets."""

from __future__ import annotations

from pathlib import Path

from sidecar import launch
from sidecar.config import ViteService
from sidecar.doctor.ground import VITE
from sidecar.events import Endpoint

_ENTRY = """new (require("net").Socket)({ fd: Number(process.argv.at(-1)) }).on("close", () => process.exit()).resume();
"""
"""A Vite that does nothing but to hold its connection to doctor: its descriptor is the last word."""

_NOWHERE = Endpoint("127.0.0.1", launch.VITE_PORT)
"""It listens nowhere, but is told."""


def vite_command(state: Path, node: str | None) -> tuple[str, ...]:
    """The command line, as the supervisor makes it, for a project in ``state`` that is made for it."""
    package = state / VITE / "node_modules" / "vite"
    package.mkdir(parents=True)
    (package / "package.json").write_text('{"bin": "vite.cjs"}', encoding="ascii")
    (package / "vite.cjs").write_text(_ENTRY, encoding="ascii")
    config = ViteService(root=str(state / VITE), node=node)
    return launch.with_endpoint(launch.plan(VITE, config), config, _NOWHERE).argv
