"""The paths of the checkout's parts, and of .venv."""

from __future__ import annotations

import sys
from pathlib import Path

WINDOWS = sys.platform == "win32"

ROOT = Path(__file__).resolve().parent.parent.parent
BUILD = ROOT / "build"
LOCK = BUILD / "requirements.lock"
NODE_LOCK = BUILD / "requirements-node.lock"
TWINE_LOCK = BUILD / "requirements-twine.lock"
DOCS_LOCK = BUILD / "requirements-docs.lock"

EXAMPLE = ROOT / "tauri-integration" / "examples" / "vite-app"
PLUGIN = ROOT / "tauri-integration" / "plugin"
BUILD_HELPER = ROOT / "tauri-integration" / "plugin-build"
BACKEND_EXAMPLE = EXAMPLE.with_name("python-backend")
BACKEND_LOCK = BACKEND_EXAMPLE / "backend" / "requirements.lock"
CRATES = (PLUGIN, BUILD_HELPER, EXAMPLE / "src-tauri", BACKEND_EXAMPLE / "src-tauri")

PEERS = ROOT / "tests" / "bench" / "peers"
PROJECTS = ROOT / "tests" / "projects"
WORKFLOW_LINT = ROOT / "tests" / "workflows"
WORKFLOWS = ROOT / ".github" / "workflows"

VENV = ROOT / ".venv"
BIN = VENV / ("Scripts" if WINDOWS else "bin")
PYTHON = BIN / ("python.exe" if WINDOWS else "python")
