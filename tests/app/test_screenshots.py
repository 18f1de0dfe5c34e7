"""The README's pictures. Each run takes them; with SIDECAR_SCREENSHOTS=1 they replace the files in the repository."""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import pytest

if sys.platform != "linux":
    pytest.skip("WebKitWebDriver, which drives the windows, is on Linux only", allow_module_level=True)

from PIL import Image, ImageColor

from tests.app.support import WINDOW_WAIT_S, App, Screen, Window, add_vite_plugin, copy_app
from tests.e2e.support import ROOT, open_gate
from tests.support.waiting import until

pytestmark = pytest.mark.vite

FOLDER = ROOT / "tauri-integration" / "screenshots"
COLOURS = 64
"""Number of colours: enough for text on plain backgrounds. It makes the files four times smaller."""
GREEN, RED, INK = "#0f7a55", "#bb2d26", "#1a211d"
"""The pages' colours in light mode: running, failed, and text."""

GATE = """async configureServer(server) {
  server.config.logger.info("\\n  waiting for the database ...");
  while (!fs.existsSync("go")) await new Promise((done) => setTimeout(done, 20));
}"""
"""It polls, as ``GATED`` of tests/e2e/support.py does."""


def keep(seen: Window, name: str, height: int, *colours: str) -> None:
    """Take the picture, down to this height, once it has these colours. Assert that the README shows it."""
    wanted = {ImageColor.getrgb(colour) for colour in colours}

    def picture() -> Image.Image:
        return seen.app.screen.shot().crop((0, 0, 1000, height))

    def painted() -> bool:
        found = picture().getcolors(maxcolors=1 << 24) or []
        return wanted <= {colour for _, colour in found}

    until(painted, f"{name}, painted", WINDOW_WAIT_S)
    folder = FOLDER if os.environ.get("SIDECAR_SCREENSHOTS") else seen.app.errors.parent
    folder.mkdir(exist_ok=True)
    made = folder / f"{name}.png"
    picture().quantize(COLOURS, dither=Image.Dither.NONE).save(made, optimize=True)
    with Image.open(made) as fresh, Image.open(FOLDER / made.name) as kept:
        assert fresh.size == kept.size
    assert f"tauri-integration/screenshots/{made.name}" in (ROOT / "README.md").read_text()


def test_the_app(window: Callable[..., Window]) -> None:
    seen = window().await_app()
    seen.script("document.querySelector('#greet button').click()")
    seen.until(lambda: seen.text("greeting"), "the greeting")
    keep(seen, "ready", 900, GREEN, INK)


def test_the_loading_page(window: Callable[..., Window], project: Path) -> None:
    add_vite_plugin(project, GATE)
    seen = window()
    seen.until(lambda: "database" in (seen.text("lines") or ""), "the output so far")
    assert seen.text("title") == "Starting web"
    keep(seen, "loading", 420, INK)
    open_gate(project)
    seen.await_app()


def test_the_failure_page(binary: Path, screen: Screen, tmp_path: Path) -> None:
    with tempfile.TemporaryDirectory(prefix="shop-") as folder:  # the page names it
        project = copy_app(Path(folder) / "front")
        (project / "node_modules").unlink()
        with App(binary, project, screen, tmp_path) as app, Window(app) as seen:
            seen.await_failure("npm install")
            keep(seen, "failed", 420, RED, INK)
