"""A project's scripts, commands and configurations, which are read and never run."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from sidecar.commands.init import javascript
from sidecar.commands.init.dev_command.meaning import Quiet, Start, Unclear
from sidecar.commands.init.dev_command.understand import understand
from sidecar.commands.init.dev_command.workspace import Package, package_at
from sidecar.commands.init.node_script.read import read
from sidecar.commands.init.node_script.source_file import UnreadableError
from sidecar.services import dev_script
from sidecar.services import project as services
from sidecar.services.frameworks import VITE
from sidecar.services.vite_config import read_server_port

JS_BITS = [
    *(
        "const ",
        "let ",
        "x",
        "port",
        " = ",
        ";",
        "\n",
        ",",
        "(",
        ")",
        "[",
        "]",
        "{",
        "}",
        "=>",
        ".",
        "?.",
        "...",
        ":",
        "?",
        "+",
    ),
    *(
        '"',
        "'",
        "`",
        "${",
        "}",
        "\\",
        "/",
        "/*",
        "*/",
        "//",
        "/[/]/g",
        "a / b / c",
        "1",
        "1_000",
        "9" * 5_000,
        "é",
        "\u2028",
    ),
    *(
        "import ",
        "from ",
        "require(",
        "'child_process'",
        '"node:child_process"',
        "'vite'",
        "'net'",
        "'./dev.js'",
        "export ",
    ),
    *("spawn", "exec", "fork", "createServer", "process.env.", "PORT", "writeFileSync", "__dirname", "import.meta.url"),
    *(
        "server",
        "server:",
        "{ port: 5173 }",
        "strictPort: true",
        "export default ",
        "defineConfig(",
        "module.exports = ",
    ),
    *(
        "await ",
        "return ",
        "function f() {",
        "new URL(",
        "path.join(",
        "async ",
        "'npx vite'",
        "['vite', '--port', port]",
    ),
]
JS = st.lists(st.sampled_from(JS_BITS), max_size=40).map("".join)

WORDS = [
    *(
        "vite",
        "npm run ",
        "npm run dev",
        "dev",
        "pre",
        "yarn ",
        "pnpm --filter a ",
        "npx ",
        "node dev.js",
        "node ",
        "bun run ",
    ),
    *(
        " && ",
        " & ",
        "; ",
        " | ",
        " || ",
        ">",
        "<",
        "(",
        ")",
        "$(",
        "`",
        "'",
        '"',
        "\\",
        "\n",
        " ",
        "--",
        " -- ",
        "%",
        "$PORT",
    ),
    *(
        "--port ",
        "--port=",
        "5173",
        "70000",
        "9" * 5_000,
        "٣",
        "--host",
        "PORT=",
        "A=b ",
        "cross-env ",
        "concurrently ",
        "run-p ",
    ),
    *(
        "cd x",
        "export A=1",
        "set B=2",
        "next dev",
        "astro dev",
        "tsc",
        "echo ",
        "npm-run-all ",
        "a*",
        "-w ",
        "deno task ",
    ),
]
COMMAND = st.lists(st.sampled_from(WORDS), max_size=12).map("".join)
SCRIPTS = st.dictionaries(
    st.sampled_from(["dev", "predev", "a", "a:b", "start", "5173"]), COMMAND | st.none(), max_size=5
)


@given(JS)
def test_any_text_has_javascript_tokens_in_their_order(text: str) -> None:
    tokens = javascript.tokenize(text)
    at = 0
    for token in tokens:
        if token.kind in {"word", "number", "regex"} and "`" not in text:
            at = text.index(token.text, at) + len(token.text)


@given(JS, JS)
def test_a_script_is_read_or_refused_with_a_reason(text: str, other: str) -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "dev.js").write_text(text, encoding="utf-8")
        (folder / "other.js").write_text(other, encoding="utf-8")
        (folder / "package.json").write_text(json.dumps({"scripts": {"dev": "node other.js"}}))
        try:
            reading = read(folder / "dev.js", folder, folder)
        except UnreadableError:
            return
        assert all(reading.unclear)
        assert isinstance(understand("node dev.js", package_at(folder, folder)), Start | Quiet | Unclear)


@given(JS, st.sampled_from(["\n", ";", "\n\n"]))
def test_a_second_server_never_hides_behind_another_text(noise: str, between: str) -> None:
    """Whatever surrounds it, a script that starts two programs is never taken for one that starts only Vite."""
    text = f"""import {{ spawn }} from "node:child_process";
spawn("npx", ["vite"]);
spawn("node", ["server.js"]);{between}"""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "dev.js").write_text(f"{text}{noise}", encoding="utf-8")
        assert not isinstance(understand("node dev.js", Package(folder)), Start | Quiet)


@given(COMMAND, SCRIPTS)
def test_a_command_is_understood_or_refused_with_a_reason(command: str, scripts: dict[str, str | None]) -> None:
    with tempfile.TemporaryDirectory() as name:
        found = understand(command, Package(Path(name), scripts))
    assert isinstance(found, Start | Quiet) or found.reason
    assert not isinstance(found, Start) or found.port is None or 0 <= found.port <= 65_535


@given(COMMAND, SCRIPTS)
def test_a_dev_script_has_a_port_that_can_be_one_or_a_reason(command: str, scripts: dict[str, str | None]) -> None:
    found = dev_script.understand(command, scripts)
    if isinstance(found, dev_script.NotUnderstood):
        assert found.reason
    else:
        assert found.port is None or 0 <= found.port <= 65_535


@given(st.binary(max_size=60) | SCRIPTS.map(lambda it: json.dumps({"scripts": it}).encode()), JS)
def test_a_folder_is_looked_at_without_an_error(manifest: bytes, config: str) -> None:
    with tempfile.TemporaryDirectory() as folder:
        Path(folder, "package.json").write_bytes(manifest)
        Path(folder, "vite.config.js").write_text(config, encoding="utf-8")
        services.look(folder)
        start = services.heed(folder, VITE)
        if isinstance(start, dev_script.Start):
            services.wanted_port(folder, start, VITE)


@given(JS)
def test_a_vite_config_names_a_port_that_can_be_one(text: str) -> None:
    said = read_server_port(f"{text}server{text}")
    assert said.port is None or 0 < said.port <= 65_535
    assert not (said.port and said.passed_over)


@given(st.integers(1, 65_535), st.booleans(), JS.filter(lambda it: "server" not in it))
def test_a_plain_port_is_found_behind_any_comment(port: int, strict: bool, noise: str) -> None:
    noise = noise.replace("*/", "")
    text = f"/* {noise} */ export default {{ server: {{ port: {port}, strictPort: {str(strict).lower()} }} }}"
    said = read_server_port(text)
    assert (said.port, said.strict) == (port, strict) or len(text) > 4_000
