"""Read files of the largest accepted size that repeat one piece: ``hostile.py READER``.

This runs as its own process with bounded processor time. A reader that takes quadratic time exceeds the bound.
"""

from __future__ import annotations

import os
import resource
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

if sys.platform == "win32":
    raise ImportError("limits are POSIX's")

import msgspec

from sidecar.commands.init.dev_command.understand import understand
from sidecar.commands.init.dev_command.workspace import Package
from sidecar.commands.init.edit import json5 as jsontext
from sidecar.commands.init.edit import rust
from sidecar.commands.init.node_script.source_file import SCRIPT_BYTES_MOST
from sidecar.files import parse_json
from sidecar.services import dev_script
from sidecar.services.vite_config import BYTES_MOST, read_server_port
from sidecar.tauri import json5, project

CPU_S = 60
"""Processor time in seconds. All pieces of one reader take a third of it; quadratic time takes minutes to hours."""

FOLDER = Path(tempfile.gettempdir())
PART = 1 if "SIDECAR_FUZZ_EXAMPLES" in os.environ else 8
"""Share of the largest size. An eighth is enough for each run; the long run uses the whole."""
LARGEST = project.FILE_BYTES_MOST // PART
SCRIPT = SCRIPT_BYTES_MOST // PART
COMMAND = dev_script.COMMAND_MOST


def script(piece: str) -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        head = "import { spawn } from 'child_process'\nspawn("
        for lines in ("", "\n"):
            repeated = (piece + lines) * ((SCRIPT - len(head)) // len(piece + lines))
            (folder / "dev.js").write_text(head + repeated)
            understand("node dev.js", Package(folder))


def rust_app(piece: str) -> None:
    for head in ("", "fn main() {\n    tauri::Builder::default()\n        .run(tauri::generate_context!())"):
        text = head + piece * ((LARGEST - len(head)) // len(piece))
        rust.add_plugin(text)


def vite_config(piece: str) -> None:
    for lines in ("", "\n"):
        read_server_port("server" + (piece + lines) * (LARGEST // len(piece + lines)))
        read_server_port("server" + (piece + lines) * ((BYTES_MOST - 6) // PART // len(piece + lines)))


def command(piece: str) -> None:
    line = piece * (COMMAND // len(piece))
    understand(line, Package(FOLDER, SCRIPTS))
    dev_script.understand(line, SCRIPTS)


def json_text(piece: str) -> None:
    text = piece * (LARGEST // len(piece))
    for each in (text, f"{{{text}}}", f'{{"a": [{text}]}}'):
        try:
            jsontext.set_member(each, ("b",), 1)
        except (json5.Json5Error, KeyError):
            pass  # most are invalid JSON5, and must be refused quickly
    try:
        parse_json(text, object)
    except msgspec.DecodeError:
        pass  # see above


SCRIPTS = {
    **{f"s{at}": " && ".join(f"npm run s{next_}" for next_ in range(20) if next_ != at) for at in range(20)},
    **{f"t{at}": " & ".join(f"npm run t{next_}" for next_ in range(20) if next_ != at) for at in range(20)},
}
"""package.json scripts that run each other in every order."""

BRACKETS = ["(", "[", "{", "((", ")", "[{(", "{}", "()", "[]"]
QUOTES = ['"', "'", "`", "\\", '\\"', "\\'", "`${", '"a" ', "'a' "]
COMMENTS = ["/*", "//", "/**/", "*/", "/", "(/[", "(/a", "/a/"]
READERS: dict[str, tuple[Callable[[str], None], list[str]]] = {
    "script": (
        script,
        [
            *(
                *BRACKETS,
                *QUOTES,
                *COMMENTS,
                "a?",
                "a?b:",
                "f(",
                "from 'x' ",
                "=require('x')",
                "import{",
                "a.",
                "x+",
                "...",
            ),
            *(
                "spawn(",
                "spawn('a',",
                "import('child_process').exec(",
                "const a=a;",
                "const a=b,b=a;",
                "process.env.A=",
                "a ",
            ),
            *("createServer({server:", "{env:{...process.env,", "'+'", "export*from'./dev.js';", "9"),
        ],
    ),
    "rust": (
        rust_app,
        [
            *(
                *BRACKETS,
                '"',
                '\\"',
                *COMMENTS[:5],
                'r#"',
                'r"',
                "'\\u{",
                "b'",
                "'a ",
                "generate_context!()",
                ".run(",
                "let a =",
            ),
            *("generate_handler![", "generate_handler![a]", "tauri_build::build()", "a ", ";"),
        ],
    ),
    "vite": (
        vite_config,
        [
            *(
                *BRACKETS,
                *QUOTES,
                *COMMENTS,
                "server:{",
                "{server:",
                "{server,",
                "{port:",
                "export default {",
                "x=",
                "9",
            ),
            *("const a={server:{}};", "export default {server:{port:1}}", "defineConfig({server:{port:1,"),
        ],
    ),
    "command": (
        command,
        [
            *(
                "vite && ",
                "a;",
                "'",
                "\\",
                '"a" ',
                "$(",
                "a & ",
                "a | ",
                "concurrently ",
                " --",
                "=",
                "a=b ",
                "(",
                "npm run s0 ",
            ),
            *(
                "npm run t0 && ",
                "npm run t0 & ",
                "run-p s* ",
                "npx ",
                "cross-env ",
                "node ",
                "--port 1 ",
                "cd a && ",
                "9",
            ),
        ],
    ),
    "json": (
        json_text,
        [
            *BRACKETS,
            *QUOTES,
            *COMMENTS[:4],
            "{a:",
            '{"a":[',
            "1,",
            '"a":1,',
            "a:1,",
            "+",
            "1e",
            "9",
            " ",
            "\n",
            "\ufeff",
        ],
    ),
}


def main(name: str) -> None:
    """Read all files. A reader may refuse one."""
    resource.setrlimit(resource.RLIMIT_CPU, (CPU_S, CPU_S))
    read, pieces = READERS[name]
    for piece in pieces:
        try:
            read(piece)
        except rust.RustShapeError:
            continue  # not an app that init understands


if __name__ == "__main__":
    main(sys.argv[1])
