"""The time from launch until an app's page is painted, under an X server: the example, and the same app without us.

Both are built beforehand, and started by the Tauri CLI as a developer does: ours by ``npm run tauri:dev``, the other by
``npm run tauri dev`` with a ``devUrl`` and ``npm run dev`` as its ``beforeDevCommand``. So both have the same work of
the CLI and of cargo's up-to-date check. Without the CLI only ours is measured, as nothing would start the other's Vite.

The steps are read afterwards, so reading them costs no time: the kernel knows when a process was forked, and the page
when it was requested. The CLI forks cargo, and the same process then becomes the app. build/pictures.py draws the steps
from the page of benchmarks.
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
from tests.bench.processes import ONLY_LINUX, BenchError, Pen, marked
from tests.bench.report import Report, Row, ratios

if sys.platform != "linux":
    raise ImportError(ONLY_LINUX)

import signal

from tests.app import support
from tests.app.support import App, Screen

BENCH = "window"
OURS, ALONE, PLAIN = "sidecar", "sidecar, no CLI", "beforeDevCommand"
PLAIN_PORT = 28_173
"""The other's dev server has one port, which is written into its ``tauri.conf.json`` when it is built."""
PAINT_SECONDS = 120.0
"""Longest wait for a painted page, in seconds. After that the measurement fails."""
BUILD_SECONDS = 1500.0
"""Timeout of a build. The first one builds all of Tauri: 2.5 minutes on two idle cores."""

TELL = """<script>
  new PerformanceObserver((list) => {
    if (list.getEntries().some(({ name }) => name === "first-contentful-paint")) {
      new Image().src = "ADDRESS" + performance.timeOrigin;
    }
  }).observe({ type: "paint", buffered: true });
</script>
"""
"""A script at the start of the page's head. It requests a picture as soon as a part of the page is painted.

The picture's name is the time at which the page was requested (milliseconds since 1970).
"""
CARGO, VITE, ASKED, PAINTED = STEPS = ("cargo starts", "Vite starts", "the page is asked for", "page painted")
"""The steps. Each time counts from the launch."""

PLAIN_MAIN = """fn main() {
    tauri::Builder::default().run(tauri::generate_context!()).expect("the app could not be run");
}
"""


def missing() -> str | None:
    """Return why this cannot be measured here; ``None`` if it can."""
    return support.missing()


class Paper:
    """Receives a page's report that it is painted."""

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
        """The script that a page needs for it."""
        return TELL.replace("ADDRESS", f"http://{HOST}:{self._listener.getsockname()[1]}/")

    def await_painted(self) -> tuple[float, float]:
        """Return when (``time.perf_counter``, seconds) the page was requested, and when it reported its first paint."""
        try:
            connection, _ = self._listener.accept()
            painted = time.perf_counter()
            with connection:
                connection.settimeout(PAINT_SECONDS)
                request = b""
                while b"\r\n" not in request and (more := connection.recv(4096)):
                    request += more
        except TimeoutError as error:
            raise BenchError(f"no page was painted within {PAINT_SECONDS:g} s") from error
        told = re.match(rb"GET /([\d.]+) ", request)
        if told is None:
            raise BenchError(f"the page told no time: {request[:80]!r}")
        return float(told[1]) / 1e3 - time.time() + time.perf_counter(), painted


@dataclass(frozen=True)
class Contender:
    """An app's binary, project, start command and variables."""

    binary: Path
    project: Path
    command: tuple[str, ...] = ()
    env: Mapping[str, str] = field(default_factory=dict)


def copies(paper: Paper) -> tuple[Path, Path]:
    """Make two copies of the example, the second without us. They are kept, so that cargo builds them only once."""
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
    """Change the Tauri part of a copy to use a ``beforeDevCommand`` instead of the sidecar."""
    config = json.loads((tauri / "tauri.conf.json").read_text())
    config["identifier"] += ".plain"
    config["build"]["beforeDevCommand"] = f"npm run dev -- --host {HOST} --port {PLAIN_PORT} --strictPort"
    config["build"]["devUrl"] = f"http://{HOST}:{PLAIN_PORT}"
    del config["plugins"], config["bundle"]["externalBin"]
    write(tauri / "tauri.conf.json", json.dumps(config, indent=2))
    capability = json.loads((tauri / "capabilities" / "default.json").read_text())
    write(tauri / "capabilities" / "default.json", json.dumps({**capability, "permissions": ["core:default"]}))
    manifest = (tauri / "Cargo.toml").read_text().replace('"sidecar-example"', '"plain-example"')
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
    """Start an app, and end it as its user would; yield its launch time (``time.perf_counter``, seconds)."""
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


def measure(pen: Pen, screen: Screen, paper: Paper, contender: Contender) -> dict[str, float]:
    """Return the milliseconds from launch to each step."""
    with running(pen, screen, contender) as launched:
        asked, painted = paper.await_painted()
        began = started(pen, contender)
    return {step: (when - launched) * 1e3 for step, when in ({**began, ASKED: asked, PAINTED: painted}).items()}


def started(pen: Pen, contender: Contender) -> dict[str, float]:
    """Return when (``time.perf_counter``, seconds; to 10 ms) the app's process and the first Vite were forked."""
    found: dict[str, list[float]] = {CARGO: [], VITE: []}
    since_boot = time.clock_gettime(time.CLOCK_BOOTTIME) - time.perf_counter()
    for pid in marked(pen.mark):
        try:
            process = Path("/proc", str(pid))
            words = (process / "cmdline").read_bytes().split(b"\0")
            is_app = (process / "exe").resolve() == contender.binary.resolve()
            ticks = int((process / "stat").read_text().rpartition(")")[2].split()[19])
        except OSError:  # it has ended
            continue
        if is_app or any(word.endswith((b"/vite", b"/vite.js")) for word in words[1:]):
            found[CARGO if is_app else VITE].append(ticks / os.sysconf("SC_CLK_TCK") - since_boot)
    if not all(found.values()):
        raise BenchError(f"the app or Vite is not among the processes: {found}")
    return {step: min(times) for step, times in found.items()}


def run(report: Report, pen: Pen, rounds: int) -> None:
    """Measure ``rounds`` rounds, each contender once a round, after one warm-up round."""
    with Paper() as paper, Screen() as screen:
        ours, plain = copies(paper)
        for project in (ours, plain):
            build(project)
        folder = support.target_folder() / "debug"
        mine, other = folder / "sidecar-example", folder / "plain-example"
        dev = ("npm", "run", "tauri:dev")
        all_of_them = {
            OURS: Contender(mine, ours, dev),
            PLAIN: Contender(other, plain, ("npm", "run", "tauri", "dev")),
            ALONE: Contender(mine, ours),
        }
        taken: dict[str, list[dict[str, float]]] = {name: [] for name in all_of_them}
        for turn in range(rounds + 1):
            for name in contenders.in_turn(all_of_them, turn):
                value = measure(pen, screen, paper, all_of_them[name])
                if turn:
                    taken[name].append(value)
    notes = {PLAIN: "npm run dev, then the CLI waits for devUrl", ALONE: "the app's binary alone"}
    for step in STEPS:
        for name, seen in taken.items():
            values = tuple(each[step] for each in seen)
            report.rows.append(Row(BENCH, f"launch → {step}", name, "ms", values, notes.get(name, "")))
    ours_ms, plain_ms = ([each[PAINTED] for each in taken[name]] for name in (OURS, PLAIN))
    report.rows.append(Row(BENCH, f"{OURS} / {PLAIN}", OURS, "×", ratios(ours_ms, plain_ms), "round by round"))
