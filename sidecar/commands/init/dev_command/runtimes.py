"""Parse commands of node, tsx, ts-node, bun and deno: which file of the project they run."""

from __future__ import annotations

import re
import shlex
from collections.abc import Sequence

from msgspec import Struct, structs

from sidecar.commands.init.dev_command.meaning import Start, Unclear
from sidecar.commands.init.dev_command.programs import server

_NODE_FLAGS = re.compile(
    r"--(?:no-warnings|no-deprecation|enable-source-maps|experimental-[\w-]+|trace-[\w-]+)(?:=.*)?"
    r"|--(?:esm|swc|transpile-only)|--max-old-space-size=\d+"
)
_LOADERS = {
    *(("--import", name) for name in ("tsx", "tsx/esm", "ts-node/register", "@swc-node/register/esm-register")),
    *(("--loader", name) for name in ("tsx", "ts-node/esm")),
    *((flag, name) for flag in ("-r", "--require") for name in ("tsx/cjs", "ts-node/register", "esbuild-register")),
}
"""Options that make node run TypeScript."""
RUNTIMES = {"node", "tsx", "ts-node", "bun", "deno"}
_DENO_FLAGS = re.compile(r"-A|--allow-[\w-]+(?:=.*)?")


class FileCall(Struct, frozen=True):
    """A command that runs a file of the project."""

    name: str
    """The file's path from the folder of the command, with slashes."""


def read_runtime(words: Sequence[str]) -> FileCall | Start | Unclear | None:
    """Parse a command such as ``node dev.js``; ``None`` if it runs no file, as ``bun run dev`` does not.

    If the file is Vite's own, return what Vite's command does.
    """
    runtime, rest = words[0], list(words[1:])
    if runtime in {"bun", "deno"}:
        if rest[:1] == ["run"]:
            rest.pop(0)
        elif runtime == "deno":
            return None
    while rest and (_NODE_FLAGS.fullmatch(rest[0]) or (runtime == "deno" and _DENO_FLAGS.fullmatch(rest[0]))):
        rest.pop(0)
    if tuple(rest[:2]) in _LOADERS:
        rest = rest[2:]
    if runtime in {"bun", "deno"} and (not rest or "." not in rest[0].rpartition("/")[2]):
        return None
    if not rest or rest[0].startswith("-") or (runtime == "tsx" and rest[0] == "watch"):
        return Unclear(f"{shlex.join(words)!r} is not understood")
    name, arguments = rest[0].replace("\\", "/"), rest[1:]
    if name.endswith("node_modules/vite/bin/vite.js"):
        start = server(["vite", *arguments])
        memory = " ".join(word for word in words[: words.index(rest[0])] if word.startswith("--max-old"))
        return structs.replace(start, env={"NODE_OPTIONS": memory}) if memory and isinstance(start, Start) else start
    return FileCall(name)
