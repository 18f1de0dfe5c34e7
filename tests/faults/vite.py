"""Use a real Vite as a tree: a copy of the example project, with a plugin that connects to the roll call."""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path

if sys.platform != "linux":
    raise ImportError("an abstract socket is Linux's")

from tests.e2e.support import EXAMPLE, copy_example
from tests.faults.cell import CHILDREN, VITE, tree
from tests.support.command import Message
from tests.support.ports import free_port


def project(folder: Path) -> Path:
    """Make the project. Its node_modules is a real folder, so caches that a killed Vite leaves stay in ``folder``."""
    copy_example(folder, (CHILDREN / "vite.config.mjs").read_text(encoding="utf-8"))
    packages = folder / "node_modules"
    packages.unlink()
    packages.mkdir()
    for package in (EXAMPLE / "node_modules").iterdir():
        if not package.name.startswith("."):  # its caches
            (packages / package.name).symlink_to(package)
    return folder


def service(root: Path, moment: str, **more: object) -> Message:
    """Return Vite as a service without restarts. In ``starting`` it never gets ready, in ``stopping`` never ends."""
    env = {"ROLL_HELPER": json.dumps(tree(VITE)), "ROLL_MOMENT": moment}
    port = {"preferred": free_port(), "sticky": False}
    return {"type": "vite", "root": str(root), "env": env, "port": port, "restart": {"policy": "never"}, **more}


def command(root: Path) -> list[str]:
    """Return the command by which a user would start the same project's Vite in a terminal."""
    node = shutil.which("node")
    assert node is not None
    entry = (root / "node_modules" / "vite" / "bin" / "vite.js").resolve()
    return [node, str(entry), str(root), "--host", "127.0.0.1", "--strictPort"]
