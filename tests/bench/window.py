"""App launch → its page is painted, under an X server: the example, beside the same app without us.

Both are built beforehand, and started by the Tauri CLI as a developer does: ours by ``npm run tauri:dev``, the other by
``npm run tauri dev`` with a ``devUrl`` and ``npm run dev`` as its ``beforeDevCommand``. So each has the same CLI, and
the same look of cargo at what is built. Without the CLI there is only ours: nobody would start the other's Vite.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

import platformdirs

from tests.bench import contenders
from tests.bench.contenders import EXAMPLE, HOST
from tests.bench.processes import ONLY_LINUX, BenchError, Pen
from tests.bench.report import Report, Row, ratios

if sys.platform != "linux":
    raise ImportError(ONLY_LINUX)

import signal

from tests.app import support
from tests.app.support import App, Screen

BENCH = "window"
EARLY, SETUP, PLAIN = "sidecar, early", "sidecar, setup", "beforeDevCommand"
EARLY_ALONE, SETUP_ALONE = "sidecar, early, no CLI", "sidecar, setup, no CLI"
PLAIN_PORT = 28_173
"""The other's dev server has one port, which is written into its ``tauri.conf.json`` when it is built."""
PAINT_SECONDS = 120.0
"""A page that is not painted by then will not be measured."""
BUILD_SECONDS = 1500.0
"""The first time all of Tauri is built: 2.5 minutes on two cores that have nothing else to do."""

TELL = """<script>
  new PerformanceObserver((list) => {
    if (list.getEntries().some(({ name }) => name === "first-contentful-paint")) {
      new Image().src = "ADDRESS";
    }
  }).observe({ type: "paint", buffered: true });
</script>
"""
"""Put first into the page's head: it asks for a picture as soon as something of the page is painted."""

PLAIN_MAIN = """fn main() {
    tauri::Builder::default().run(tauri::generate_context!()).expect("the app could not be run");
}
"""


def missing() -> str | None:
    """Why this cannot be measured here; ``None`` if it can."""
    return support.missing()


class Paper:
    """Where a page tells that it is painted."""

    def __init__(self) -> None:
        self._listener = socket.socket()
        self._listener.bind((HOST, 0))
        self._listener.listen()
        self._listener.settimeout(PAINT_SECONDS)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._listener.close()

    @property
    def script(self) -> str:
        """What a page needs for it."""
        return TELL.replace("ADDRESS", f"http://{HOST}:{self._listener.getsockname()[1]}/")

    def await_painted(self) -> float:
        """When (``time.perf_counter``, seconds) the page told."""
        try:
            connection, _ = self._listener.accept()
        except TimeoutError as error:
            raise BenchError(f"no page was painted within {PAINT_SECONDS:g} s") from error
        painted = time.perf_counter()
        connection.close()
        return painted


@dataclass(frozen=True)
class Contender:
    """An app's binary and project, how it is started, and with which variables."""

    binary: Path
    project: Path
    command: tuple[str, ...] = ()
    env: Mapping[str, str] = field(default_factory=dict)


def copies(paper: Paper) -> tuple[Path, Path]:
    """Two copies of the example, the second without us. They stay where they are, so that cargo builds them once."""
    folder = platformdirs.user_cache_path("tauri-sidecar") / "bench-apps"
    ours, plain = folder / "ours", folder / "plain"
    for project in (ours, plain):
        ignored = shutil.ignore_patterns("node_modules", "dist", "gen", "binaries", "target")
        shutil.copytree(EXAMPLE, project, ignore=ignored, dirs_exist_ok=True)
        modules = project / "node_modules"
        modules.unlink(missing_ok=True)
        modules.symlink_to(EXAMPLE / "node_modules")
        page = project / "index.html"
        page.write_text(page.read_text().replace("<head>", f"<head>{paper.script}", 1))
    manifest = ours / "src-tauri" / "Cargo.toml"
    write(manifest, manifest.read_text().replace("../../../plugin", str(EXAMPLE.parents[1] / "plugin")))
    support.put_sidecar(ours)
    without_us(plain / "src-tauri")
    return ours, plain


def without_us(tauri: Path) -> None:
    """Make the Tauri part of a copy what it would be with a ``beforeDevCommand``."""
    config = json.loads((tauri / "tauri.conf.json").read_text())
    config["identifier"] += ".plain"
    config["build"]["beforeDevCommand"] = f"npm run dev -- --host {HOST} --port {PLAIN_PORT} --strictPort"
    config["build"]["devUrl"] = f"http://{HOST}:{PLAIN_PORT}"
    del config["plugins"], config["bundle"]["externalBin"], config["app"]["windows"][0]["create"]
    write(tauri / "tauri.conf.json", json.dumps(config, indent=2))
    capability = json.loads((tauri / "capabilities" / "default.json").read_text())
    write(tauri / "capabilities" / "default.json", json.dumps({**capability, "permissions": ["core:default"]}))
    manifest = (tauri / "Cargo.toml").read_text().replace('"sidecar-example"', '"plain-example"')
    # what the plugin asks of Tauri, so that both link the same one, and it is built once
    manifest = re.sub(r"(?m)^(tauri = .*features = )\[\]", r'\1["dynamic-acl"]', manifest)
    manifest = re.sub(r"\n\[lib\]\n(.+\n)+", "", manifest)
    write(tauri / "Cargo.toml", re.sub(r"\ntauri-plugin-sidecar = .*", "", manifest))
    write(tauri / "build.rs", "fn main() {\n    tauri_build::build();\n}\n")
    write(tauri / "src" / "main.rs", PLAIN_MAIN)
    (tauri / "src" / "lib.rs").unlink(missing_ok=True)
    (tauri.parent / "dist").mkdir(exist_ok=True)


def write(path: Path, text: str) -> None:
    """Write a file."""
    path.write_text(text, encoding="utf-8")


def build(project: Path) -> None:
    """Build an app as the CLI would."""
    command = ["cargo", "build", "--quiet", "--manifest-path", str(project / "src-tauri" / "Cargo.toml")]
    env = {**os.environ, "CARGO_TARGET_DIR": str(support.target_folder())}
    if subprocess.run(command, env=env, timeout=BUILD_SECONDS, check=False).returncode:
        raise BenchError(f"{project} could not be built; cargo's own words are above")


@contextmanager
def running(pen: Pen, screen: Screen, contender: Contender) -> Iterator[float]:
    """An app that is started, and when (``time.perf_counter``, seconds); ended as its user would end it."""
    env = pen.env(CARGO_TARGET_DIR=str(support.target_folder()), **contender.env)
    try:
        with App(contender.binary, contender.project, screen, pen.folder, **env) as app:
            launched = time.perf_counter()
            app.start(*contender.command)
            yield launched
            app.hit(signal.SIGTERM)
            app.tree.await_end()
    finally:
        pen.empty()


def measure(pen: Pen, screen: Screen, paper: Paper, contender: Contender) -> float:
    """Milliseconds from launch to paint."""
    with running(pen, screen, contender) as launched:
        return (paper.await_painted() - launched) * 1e3


def run(report: Report, pen: Pen, rounds: int) -> None:
    """Take ``rounds`` rounds, each contender once a round, after one that only warms the caches."""
    with Paper() as paper, Screen() as screen:
        ours, plain = copies(paper)
        for project in (ours, plain):
            build(project)
        folder = support.target_folder() / "debug"
        mine, other = folder / "sidecar-example", folder / "plain-example"
        dev = ("npm", "run", "tauri:dev")
        early, setup = ({"SIDECAR_EXAMPLE_START": mode} for mode in ("early", "setup"))
        all_of_them = {
            EARLY: Contender(mine, ours, dev, early),
            SETUP: Contender(mine, ours, dev, setup),
            PLAIN: Contender(other, plain, ("npm", "run", "tauri", "dev")),
            EARLY_ALONE: Contender(mine, ours, (), early),
            SETUP_ALONE: Contender(mine, ours, (), setup),
        }
        taken: dict[str, list[float]] = {name: [] for name in all_of_them}
        for turn in range(rounds + 1):
            for name in contenders.in_turn(all_of_them, turn):
                value = measure(pen, screen, paper, all_of_them[name])
                if turn:
                    taken[name].append(value)
    what = "launch → page painted"
    notes = {PLAIN: "npm run dev, then the CLI waits for devUrl", EARLY_ALONE: "the app's binary alone"}
    report.rows += [Row(BENCH, what, name, "ms", tuple(taken[name]), notes.get(name, "")) for name in all_of_them]
    for name in (EARLY, SETUP):
        report.rows.append(
            Row(BENCH, f"{name} / {PLAIN}", name, "×", ratios(taken[name], taken[PLAIN]), "round by round")
        )
