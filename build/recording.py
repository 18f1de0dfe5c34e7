"""Record `sidecar dev` in a terminal as an animated SVG, for light and dark: python3 build/recording.py, in .venv.

A copy of the example runs in a real pseudo-terminal. Its screens become the frames. No test compares the picture with
this script, because each run has other times. For Linux and macOS.
"""

from __future__ import annotations

import contextlib
import os
import re
import select
import shutil
import signal
import struct
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from html import escape
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
EXAMPLE = ROOT / "tauri-integration" / "examples" / "vite-app"
TARGET = ROOT / "tauri-integration" / "docs" / "pictures" / "dev.svg"

ROWS, COLUMNS = 16, 80
WHOLE_S = 60.0
"""Bound on a recording."""
READY = b"up 1 s"
"""In the status line: the server is ready."""
QUIT_AFTER_S = 2.0
"""Time from the ready screen to the press of q."""
FRAME_S = 0.1
"""Changes within this time become one frame."""
LAST_S = 3.0
"""Duration of the last frame, before the recording starts again."""

_TOKEN = re.compile(r"\x1b\[(?P<words>[?0-9;]*)(?P<kind>[A-Za-z])|\x1b\][^\x07\x1b]*(?:\x07|\x1b\\)|[\r\n]|[^\x1b\r\n]")
COLOURS = {31: "red", 32: "green", 33: "yellow", 34: "blue", 35: "magenta", 36: "cyan"}
NORMAL = 22
"""Neither bold nor dim."""
Style = frozenset[str]
Row = list[tuple[str, Style]]


@dataclass
class Screen:
    """A terminal in memory. It knows only the few sequences that the view and Vite write."""

    rows: list[Row] = field(default_factory=lambda: [[]])
    row: int = 0
    column: int = 0
    style: Style = frozenset()

    def feed(self, text: str) -> None:
        """Take text that was written to the terminal."""
        for token in _TOKEN.finditer(text):
            if token["kind"]:
                self._control(token["kind"], token["words"])
            elif token[0] == "\r":
                self.column = 0
            elif token[0] == "\n":
                self.row += 1
                self.rows += [[] for _ in range(self.row + 1 - len(self.rows))]
            elif not token[0].startswith("\x1b"):
                self._print(token[0])

    def _print(self, character: str) -> None:
        row = self.rows[self.row]
        row += [(" ", frozenset())] * (self.column - len(row))
        row[self.column : self.column + 1] = [(character, self.style)]
        self.column += 1

    def _control(self, kind: str, words: str) -> None:
        number = int(words) if words.isdecimal() else 0
        if kind == "A":
            self.row = max(0, self.row - max(1, number))
        elif kind in "JK":
            del self.rows[self.row][self.column :]
            if kind == "J":
                del self.rows[self.row + 1 :]
        elif kind == "m":
            for code in map(int, (words or "0").split(";")):
                self.style = self._styled(code)

    def _styled(self, code: int) -> Style:
        if code == 0:
            return frozenset()
        names = {1: "bold", 2: "dim", **COLOURS, **{each + 60: name for each, name in COLOURS.items()}}
        without = self.style - (set(COLOURS.values()) if code >= min(COLOURS) else set())
        return without | {names[code]} if code in names else without - ({"bold", "dim"} if code == NORMAL else set())

    def shown(self) -> tuple[tuple[tuple[str, Style], ...], ...]:
        """Return the last rows, which are on the screen."""
        return tuple(tuple(row) for row in self.rows[-ROWS:])


Frame = tuple[float, tuple[tuple[tuple[str, Style], ...], ...]]
"""Seconds from the start, and the screen from then on."""


def written(command: Sequence[str], folder: Path, env: dict[str, str]) -> Iterator[tuple[float, bytes]]:
    """Run a command in a terminal, and press q once it is ready. Yield its output, with the seconds from the start.

    Raises TimeoutError.
    """
    if sys.platform == "win32":
        raise OSError("Windows has no pseudo-terminal of this kind")
    import fcntl  # noqa: PLC0415  these three do not exist on Windows
    import pty  # noqa: PLC0415
    import termios  # noqa: PLC0415

    pid, terminal = pty.fork()
    if pid == 0:
        os.chdir(folder)
        os.execve(command[0], list(command), env)  # noqa: S606  it needs no shell
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", ROWS + 8, COLUMNS, 0, 0))
    began = time.monotonic()
    seen, ready, quit_at = b"", False, WHOLE_S
    try:
        while (now := time.monotonic() - began) < WHOLE_S:
            if now >= quit_at:
                os.write(terminal, b"q")
                quit_at = WHOLE_S
            if not select.select([terminal], [], [], 0.05)[0]:
                continue
            try:
                data = os.read(terminal, 65_536)
            except OSError:  # on Linux, the end of a terminal after its program has ended
                return
            if not data:
                return
            seen += data
            if READY in seen and not ready:
                ready, quit_at = True, now + QUIT_AFTER_S
            yield now, data
        raise TimeoutError(f"{command} did not end within {WHOLE_S} s")
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGTERM)
        os.waitpid(pid, 0)
        os.close(terminal)


def frames(pieces: Iterable[tuple[float, bytes]]) -> list[Frame]:
    """Return the screens, each with its begin. Leave out empty ones."""
    screen, found = Screen(), list[Frame]()
    text = ""
    for at, data in pieces:
        text += data.decode(errors="replace")
        cut = text.rfind("\x1b")
        whole = text if cut < 0 or _TOKEN.match(text, cut) else text[:cut]  # a sequence may come in two pieces
        screen.feed(whole)
        text = text[len(whole) :]
        since = found.pop()[0] if found and at - found[-1][0] < FRAME_S else at
        if not found or found[-1][1] != screen.shown():
            found.append((since, screen.shown()))
    return [(at, shown) for at, shown in found if any(shown)]


WIDTH, HEIGHT, LEFT, TOP = 8.2, 18, 14, 40
CSS = """\
text { font: 13px ui-monospace, SFMono-Regular, Menlo, Consolas, monospace; fill: #1f2328; white-space: pre }
.page { fill: #f6f8fa; stroke: #d1d9e0 }
.dot { fill: #d1d9e0 }
.bold { font-weight: 600 } .dim { fill: #59636e } .red { fill: #cf222e } .green { fill: #1a7f37 }
.yellow { fill: #9a6700 } .blue { fill: #0969da } .magenta { fill: #8250df } .cyan { fill: #1b7c83 }
@media (prefers-color-scheme: dark) {
text { fill: #f0f6fc } .page { fill: #0d1117; stroke: #3d444d } .dot { fill: #3d444d }
.dim { fill: #9198a1 } .red { fill: #ff7b72 } .green { fill: #3fb950 } .yellow { fill: #d29922 }
.blue { fill: #4493f8 } .magenta { fill: #ab7df8 } .cyan { fill: #39c5cf }
}
@media (prefers-reduced-motion: no-preference) {
"""


def drawn(found: Sequence[Frame]) -> str:
    """Draw the frames one after the other. A reader with reduced motion sees only the last one."""
    rows = max(len(screen) for _, screen in found)
    width, height = round(2 * LEFT + COLUMNS * WIDTH), TOP + rows * HEIGHT + 12
    whole = found[-1][0] + LAST_S
    rules, groups = [], []
    for number, (at, screen) in enumerate(found):
        until = found[number + 1][0] if number + 1 < len(found) else whole
        first, last = 100 * at / whole, 100 * until / whole
        rules.append(
            f"@keyframes f{number} {{ 0% {{ visibility: hidden }} {first:.2f}% {{ visibility: visible }} "
            f"{last:.2f}% {{ visibility: {'visible' if number + 1 == len(found) else 'hidden'} }} }}\n"
            f"#f{number} {{ animation: f{number} {whole:.1f}s step-end infinite }}\n"
        )
        hidden = "" if number + 1 == len(found) else ' visibility="hidden"'
        groups.append(f'<g id="f{number}"{hidden}>\n{lines(screen)}</g>\n')
    title = "sidecar dev: a spinner, then the address, the output and a status line; q ends it"
    dots = "".join(f'<circle cx="{LEFT + 6 + 18 * each}" cy="18" r="5" class="dot"/>' for each in range(3))
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" height="{height}" '
        f'role="img" aria-label="{title}">\n<title>{title}</title>\n<style>\n{CSS}{"".join(rules)}}}\n</style>\n'
        f'<rect x="0.5" y="0.5" width="{width - 1}" height="{height - 1}" rx="8" class="page"/>{dots}\n'
        f"{''.join(groups)}</svg>\n"
    )


def lines(screen: Sequence[Sequence[tuple[str, Style]]]) -> str:
    """Draw a screen: one text for each run of equal style, at its column."""
    parts = []
    for number, row in enumerate(screen):
        column = 0
        while column < len(row):
            style = row[column][1]
            end = column
            while end < len(row) and row[end][1] == style:
                end += 1
            text = "".join(character for character, _ in row[column:end])
            if text.strip():
                x = LEFT + (column + len(text) - len(text.lstrip())) * WIDTH
                length = len(text.strip()) * WIDTH
                parts.append(
                    f'<text x="{x:.1f}" y="{TOP + 13 + number * HEIGHT}" textLength="{length:.1f}" '
                    f'lengthAdjust="spacingAndGlyphs" class="{" ".join(sorted(style))}">{escape(text.strip())}</text>\n'
                )
            column = end
    return "".join(parts)


def main() -> int:
    """Record it, and write the picture."""
    with tempfile.TemporaryDirectory(prefix="sidecar-recording-") as temporary:
        app = Path(temporary).resolve() / "app"
        shutil.copytree(EXAMPLE, app, ignore=shutil.ignore_patterns("node_modules", "target", "binaries", "gen"))
        (app / "node_modules").mkdir()
        for package in (EXAMPLE / "node_modules").iterdir():
            if package.name != ".vite":  # Vite's cache, which comes from other runs
                (app / "node_modules" / package.name).symlink_to(package)
        env = {**os.environ, "TERM": "xterm-256color", "SIDECAR_STATE_DIR": f"{temporary}/state"}
        found = frames(written([sys.executable, "-m", "sidecar", "dev"], app, env))
    TARGET.write_text(drawn(found), encoding="utf-8", newline="\n")
    print(f"{TARGET.relative_to(ROOT)}: {len(found)} frames, {TARGET.stat().st_size:,} bytes")
    return 0


if __name__ == "__main__":
    sys.exit(main())
