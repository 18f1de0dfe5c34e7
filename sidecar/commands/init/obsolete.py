"""Find what is obsolete once the sidecar starts Vite: the node script that did, its port file, and code that reads it.

Only a person can edit these. ``init`` names each place with its line, and says what to do.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path

from sidecar.commands.init.dev_command.meaning import Start
from sidecar.commands.init.node_script.source_file import UnreadableError, text_of
from sidecar.files import files_below

FILES_MOST = 2_000
"""Bound on the files to search."""
LINES_MOST = 20
"""Bound on the places to name. A longer list would not help."""

_SKIPPED = {"node_modules", "target", "dist", "build", "gen", ".git", ".vite", "icons"}
_SEARCHED = {
    *(
        ".rs",
        ".toml",
        ".json",
        ".json5",
        ".js",
        ".mjs",
        ".cjs",
        ".ts",
        ".mts",
        ".cts",
        ".jsx",
        ".tsx",
        ".vue",
        ".svelte",
    ),
    *(".html", ".sh", ".ps1", ".bat", ".cmd", ".py"),
}
_OUTSIDE = {".sh", ".ps1", ".bat", ".cmd", ".py"}
"""People run such files; Vite does not."""
_LOCKS = {"package-lock.json", "npm-shrinkwrap.json"}
_NAMES = {".gitignore", "Makefile", "makefile", "justfile", "Justfile"}
_KILL = re.compile(
    r"\b(?P<killer>taskkill|pkill|killall|Stop-Process)\b[^;\n]{0,200}(?:\n[^;\n]{0,200}){0,3}?\b(?:node|vite)\b"
    r"|\bGet-Process\b[^;\n]{0,200}\b(?:node|vite)\b[^;\n]{0,200}\b(?P<piped>Stop-Process)\b"
    r"|\b(?P<port>kill-port(?![\"']\s*:)|fuser(?=[^;\n]{0,200}\s-k))\b"
)
_READS = re.compile(r"\bread\w*\(|\binclude_str!|\brequire\(")
_NAME = re.compile(r"\b(?:const|static|let|var)\s+(?:mut\s+)?([A-Za-z_$][\w$]*)")

RUST = 'app.sidecar().service("web").url(), with use tauri_plugin_sidecar::SidecarExt'


def notes(start: Start, front: Path, folder: Path, root: Path) -> Iterator[str]:
    """Yield what to do by hand if a script of the project started the dev server."""
    scripts = [reading.file for reading in start.readings]
    for file in scripts:
        yield f"{os.path.relpath(file, root)}: delete it, because the sidecar now starts Vite on a free port."
    files = sorted({name for reading in start.readings for name in reading.port_files if name})
    places = list(_places(front, folder, set(map(os.path.realpath, scripts)), files))
    for file, line, advice in places[:LINES_MOST]:
        yield f"{os.path.relpath(file, root)}:{line}: {advice}"
    if len(places) > LINES_MOST:
        yield f"There are {len(places) - LINES_MOST} more such places."


def _places(front: Path, folder: Path, scripts: set[str], names: list[str]) -> Iterator[tuple[Path, int, str]]:
    """Yield each line that reads the port file, or ends programs by name."""
    tops = [front] if folder.absolute().is_relative_to(front.absolute()) else [front, folder]
    for file in _files(tops):
        if os.path.realpath(file) in scripts:
            continue
        try:
            text = text_of(file, file.parent)
        except UnreadableError:
            continue  # too large, or no text, so no person wrote it
        if file.name == "package.json":
            found = {
                line: f"remove this script: {script.name} is not needed any more"
                for script in map(Path, scripts)
                for line in _mentions(text, [script.name])
            }
        else:
            told = [name for name in names if file.name != ".gitignore" or not name.startswith(".env")]
            found = {line: _reads(file, told) for line in _mentions(text, told)}
        for each in _KILL.finditer(text):
            name = each["killer"] or each["piped"] or each["port"]
            whose = "whatever listens on that port" if each["port"] else "every program of that name"
            found[text.count("\n", 0, each.start()) + 1] = (
                f"remove {name}: it ends {whose}, even if another project started it. The sidecar ends its own tree"
            )
        yield from ((file, line, found[line]) for line in sorted(found))


def _reads(file: Path, names: list[str]) -> str:
    what = f"nothing writes {' or '.join(names)} any more"
    if file.name == ".gitignore":
        return f"{what}. Remove it"
    if file.suffix == ".rs":
        return f"{what}. The page's address is {RUST}"
    if file.name.startswith("vite.config."):
        return f"{what}. Remove it: the sidecar puts the port on Vite's command line"
    if file.suffix in _OUTSIDE or file.name in _NAMES:
        return f"{what}. 'sidecar ps' shows the page's address"
    return f"{what}. Vite and its child processes have the port in the variable VITE_DEV_PORT"


def _mentions(text: str, names: list[str]) -> Iterator[int]:
    """Yield the lines with one of the names, or with a constant for the file's name."""
    lines = text.splitlines()
    wanted = [re.compile(rf"(?<![\w.-]){re.escape(name)}(?![\w-])") for name in names]
    named = [
        found[1]
        for line in lines
        if any(each.search(line) for each in wanted) and (found := _NAME.search(line)) and not _READS.search(line)
    ]
    wanted += [re.compile(rf"(?<![\w.$]){re.escape(name)}(?![\w$])") for name in named[:LINES_MOST]]
    for number, line in enumerate(lines, 1):
        if any(each.search(line) for each in wanted):
            yield number


def _files(tops: list[Path]) -> Iterator[Path]:
    """Yield the project's own text files."""
    count = 0
    for top in tops:
        for file in map(Path, files_below(top, lambda name: name in _SKIPPED or name.startswith("."))):
            if file.name in _LOCKS or (file.suffix not in _SEARCHED and file.name not in _NAMES):
                continue
            yield file
            count += 1
            if count == FILES_MOST:
                return
