"""The tree of ``doctor --prove`` that ends with its stdin: node with the command line that Vite gets."""

from __future__ import annotations

from pathlib import Path

from sidecar.commands.doctor.prove.platform import VITE
from sidecar.config.services import ViteService
from sidecar.core.events import Endpoint
from sidecar.services import launch

_ENTRY = """new (require("net").Socket)({ fd: Number(process.argv.at(-1)) }).on("close", () => process.exit()).resume();
"""
"""A Vite that only holds its connection to doctor. Its last argument is the descriptor."""

_NOWHERE = Endpoint("127.0.0.1", launch.VITE_PORT)
"""The command line needs an address. The program listens on none."""


def vite_command(state: Path, node: str | None) -> tuple[str, ...]:
    """Make a project in ``state``; return the command line that the supervisor would make for it."""
    package = state / VITE / "node_modules" / "vite"
    package.mkdir(parents=True)
    (package / "package.json").write_text('{"bin": "vite.cjs"}', encoding="ascii")
    (package / "vite.cjs").write_text(_ENTRY, encoding="ascii")
    config = ViteService(root=str(state / VITE), node=node)
    return launch.with_endpoint(launch.plan(VITE, config), config, _NOWHERE).argv
