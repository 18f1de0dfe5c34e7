"""Draw the pictures of the README and the docs as SVG, each for light and dark: python3 build/pictures.py.

``tree.svg`` shows which process watches which. ``deaths.svg`` shows how long a killed app's tree lives, beside peers.
``start.svg`` shows the steps of a start until the app's page is painted. The figures of both come from the page of
benchmarks, so picture and page cannot differ. This uses the standard library only. ``tests/test_reference.py`` checks
that the files are as this script draws them.
"""

from __future__ import annotations

import re
import sys
from html import escape
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
DOCS = ROOT / "tauri-integration" / "docs"
PICTURES = DOCS / "pictures"

STYLE = """\
<style>
text { font: 14px system-ui, -apple-system, "Segoe UI", sans-serif; fill: #1f2328 }
.small { font-size: 12px; fill: #59636e }
.strong { font-weight: 600 }
.page { fill: #ffffff }
.box { fill: #ffffff; stroke: #818b98 }
.ours { fill: #ddf4ff; stroke: #0969da }
.line { stroke: #59636e; fill: none; stroke-width: 1.5 }
.watch { stroke: #bc4c00; fill: none; stroke-width: 1.5; stroke-dasharray: 5 4 }
.watching { fill: #bc4c00 }
.head { fill: #59636e }
.watch-head { fill: #bc4c00 }
.bar { fill: #0969da }
.peer { fill: #afb8c1 }
@media (prefers-color-scheme: dark) {
text { fill: #f0f6fc }
.page { fill: #0d1117 }
.small { fill: #9198a1 }
.box { fill: #151b23; stroke: #656c76 }
.ours { fill: #121d2f; stroke: #4493f8 }
.line { stroke: #9198a1 }
.watch { stroke: #f0883e }
.watching, .watch-head { fill: #f0883e }
.head { fill: #9198a1 }
.bar { fill: #4493f8 }
.peer { fill: #656c76 }
}
</style>
"""


def drawing(width: int, height: int, title: str, parts: list[str]) -> str:
    """Return a whole SVG document. A screen reader reads the title."""
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" height="{height}" '
        f'role="img" aria-label="{escape(title)}">\n<title>{escape(title)}</title>\n'
    )
    markers = "".join(
        f'<marker id="{name}" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" markerHeight="7" orient="auto">'
        f'<path d="M0 0 8 4 0 8z" class="{name}"/></marker>\n'
        for name in ("head", "watch-head")
    )
    body = "\n".join(parts)
    page = f'<rect width="{width}" height="{height}" rx="8" class="page"/>'  # readable on a page of either colour
    return f"{head}{STYLE}<defs>\n{markers}</defs>\n{page}\n{body}\n</svg>\n"


def text(x: float, y: float, words: str, kind: str = "", anchor: str = "start") -> str:
    """Return one line of text."""
    return f'<text x="{x:g}" y="{y:g}" text-anchor="{anchor}" class="{kind}">{escape(words)}</text>'


def box(x: float, y: float, width: float, words: str, below: str, kind: str = "box") -> str:
    """Return a box, 52 pixels high, with a name and a line in small letters below it."""
    middle = x + width / 2
    return (
        f'<rect x="{x:g}" y="{y:g}" width="{width:g}" height="52" rx="6" class="{kind}"/>'
        + text(middle, y + 23, words, "strong", "middle")
        + text(middle, y + 41, below, "small", "middle")
    )


def arrow(path: str, *, watch: bool = False) -> str:
    """Return an arrow; it is dashed if it stands for watching."""
    kind, head = ("watch", "watch-head") if watch else ("line", "head")
    return f'<path d="{path}" class="{kind}" marker-end="url(#{head})"/>'


def tree() -> str:
    """Draw the processes: the app, those of the sidecar, and the services."""
    return drawing(
        760,
        212,
        "The app talks to the supervisor over stdin and stdout. The supervisor starts Vite and an API. "
        "The guard watches the app and the supervisor, and ends everything when one of them dies.",
        [
            box(8, 128, 150, "your Tauri app", "owns the address"),
            box(290, 20, 170, "guard", "ends the whole tree", "ours"),
            box(290, 128, 170, "supervisor", "starts, checks, restarts", "ours"),
            box(592, 72, 160, "Vite", "and what it starts"),
            box(592, 148, 160, "your API", "and what it starts"),
            arrow("M158 154H288"),
            text(223, 147, "JSON-RPC", "small", "middle"),
            text(223, 171, "stdin, stdout", "small", "middle"),
            arrow("M460 146 590 104"),
            arrow("M460 160 590 174"),
            arrow("M290 46H83V126", watch=True),
            text(90, 66, "sees it die, however it dies", "small watching"),
            arrow("M375 72V126", watch=True),
        ],
    )


def figures() -> list[tuple[str, str, str]]:
    """Return (processes, our ms, Bun's ms) from the page of benchmarks. Raises ValueError if its row is gone."""
    page = (DOCS / "benchmarks.md").read_text(encoding="utf-8")
    row = re.search(r"^\| … ([\d, ]+) processes \| ([\d., ]+) ms; 0 \| Bun ([\d., ]+) ms; 0 \|", page, re.MULTILINE)
    if row is None:
        raise ValueError("benchmarks.md has no row of processes, ours and Bun's")
    columns = (re.split(r", ", group) for group in row.groups())
    return list(zip(*columns, strict=True))


def deaths() -> str:
    """Draw the time from the app's SIGKILL to the last death by the size of the tree, ours beside Bun's."""
    left, scale = 150, 3.6  # pixels per millisecond
    parts = [
        text(8, 22, "The app is killed with SIGKILL: milliseconds until the last process of its tree is dead", "strong")
    ]
    y = 40
    for processes, ours, buns in figures():
        parts.append(text(8, y + 25, f"{processes} processes"))
        for row, (who, value, kind) in enumerate((("sidecar", ours, "bar"), ("bun --no-orphans", buns, "peer"))):
            top = y + row * 20
            width = float(value) * scale
            parts.append(f'<rect x="{left}" y="{top}" width="{width:.1f}" height="15" rx="2" class="{kind}"/>')
            parts.append(text(left + width + 8, top + 12, f"{value} ms  {who}", "small"))
        y += 54
    parts.append(text(8, y + 8, "npm run, concurrently, setpriv and unshare leave processes behind.", "small"))
    return drawing(760, y + 20, "Time until a killed app's tree is dead, by its size, beside Bun's", parts)


def starts() -> list[tuple[str, list[int]]]:
    """Return (how it is started, milliseconds of each step) from the page of benchmarks.

    Raises ValueError if a row is gone.
    """
    page = (DOCS / "benchmarks.md").read_text(encoding="utf-8")
    number = r" ([\d,]+) \|"
    rows = re.findall(rf"^\| `(npm run tauri.dev)`([^|]*) \|{number * 4}$", page, re.MULTILINE)
    if [how for how, *_ in rows] != ["npm run tauri:dev", "npm run tauri dev"]:
        raise ValueError("benchmarks.md has not one row of a start by each of the two commands")
    return [(how + more, [int(it.replace(",", "")) for it in values]) for how, more, *values in rows]


def start() -> str:
    """Draw what runs from the launch until the page is painted: ours, and below it a plain ``tauri dev``."""
    found = starts()
    left, width = 190, 470
    scale = width / max(painted for _, (*_, painted) in found)
    parts = [text(8, 22, "From the launch until the page is painted", "strong")]
    y = 44
    for (how, (cargo, vite, asked, painted)), kind in zip(found, ("bar", "peer"), strict=True):
        parts.append(text(8, y + 10, how.replace("`", ""), "strong"))
        for name, begin, end in (
            ("npm, Tauri\u2019s CLI", 0, cargo),
            ("Vite", vite, asked),
            ("cargo, then the app", cargo, asked),
            ("the page", asked, painted),
        ):
            y += 20
            parts.append(text(left - 10, y + 11, name, "small", "end"))
            parts.append(
                f'<rect x="{left + begin * scale:.1f}" y="{y}" width="{max((end - begin) * scale, 1):.1f}" height="14" '
                f'rx="2" class="{kind}"/>'
            )
        parts.append(text(left + painted * scale + 8, y + 11, f"{painted:,} ms", "small"))
        y += 36
    title = "The steps of a start until the page is painted, with the sidecar and with beforeDevCommand"
    return drawing(760, y - 8, title, parts)


DRAWINGS = {"tree.svg": tree, "deaths.svg": deaths, "start.svg": start}


def main() -> int:
    """Write all pictures."""
    PICTURES.mkdir(exist_ok=True)
    for name, draw in DRAWINGS.items():
        (PICTURES / name).write_text(draw(), encoding="utf-8", newline="\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
