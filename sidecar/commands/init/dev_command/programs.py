"""The known programs: those that open no port, dev servers, and those that only end other programs."""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping, Sequence
from typing import Any

from sidecar.commands.init.dev_command.meaning import Start, Unclear
from sidecar.services import dev_script

_QUIET = {
    *("echo", "printf", "true", ":", "test", "sleep", "exit"),
    *("mkdir", "mkdirp", "cp", "mv", "rm", "touch", "chmod", "ls", "cat"),
    *("copyfiles", "cpx", "cpy", "cpy-cli", "del-cli", "ncp", "rimraf", "shx"),
    *("kill", "kill-port", "killall", "pkill", "lsof", "netstat", "fuser", "taskkill", "wait-on"),
    *("tsc", "vue-tsc", "svelte-check", "eslint", "prettier", "stylelint", "biome", "oxlint"),
    *("graphql-codegen", "openapi-typescript", "orval", "relay-compiler", "buf", "protoc", "typed-css-modules", "tcm"),
    *("babel", "swc", "sass", "postcss", "tailwindcss", "unocss", "rustc", "rustfmt", "wasm-bindgen"),
}
"""Programs that open no port, whatever their arguments: file tools, checkers, compilers and code generators."""
_QUIET_WITH = {
    "cargo": {"build", "check", "clippy", "doc", "fetch", "fmt", "metadata", "test", "tree", "update"},
    "git": {"checkout", "config", "fetch", "lfs", "pull", "rev-parse", "submodule"},
    "wasm-pack": {"build", "test"},
    "svelte-kit": {"sync"},
    "prisma": {"generate", "validate", "format"},
    "panda": {"codegen", "cssgen"},
    "paraglide-js": {"compile"},
    "lingui": {"compile", "extract"},
    "react-router": {"typegen"},
    "astro": {"sync", "check"},
    "nuxt": {"prepare"},
    "nuxi": {"prepare"},
}
"""Programs that open no port if their first argument is one of these. (``cargo run`` and ``prisma studio`` may.)"""

_KILLERS = {"kill", "kill-port", "killall", "pkill", "lsof", "netstat", "fuser", "taskkill"}
"""Programs with which scripts find and end an old dev server. With the sidecar there is no old one."""

_FILTERS = {"awk", "cut", "findstr", "grep", "head", "sort", "tail", "true"}
"""Programs that filter the output of ``_KILLERS`` in a pipe."""

_CMD = re.compile(r"^cmd(?:\.exe)?(?:\s+/\w+)+\s+")
"""How Windows' shell is started, as in ``cmd /d /c``."""


def is_quiet(words: Sequence[str]) -> bool:
    """Tell whether the command surely opens no port."""
    return words[0] in _QUIET or (len(words) > 1 and words[1] in _QUIET_WITH.get(words[0], ()))


def takes_any_words(name: str) -> bool:
    """Tell whether the program opens no port, whatever its arguments are, even ones that a shell fills in."""
    return name in _QUIET


def server(words: list[str]) -> Start | Unclear:
    """Read a dev server's own command."""
    found = dev_script.understand_words(words)
    if isinstance(found, dev_script.NotUnderstood):
        return Unclear(f"{shlex.join(words)!r}: {found.reason}")
    return Start(
        type=found.framework.type,
        root=found.root,
        mode=found.mode,
        config=found.config,
        port=found.port,
        args=list(found.args),
        host=found.host is not None,
    )


def why(words: Sequence[str]) -> str:
    """Say why a command of an unknown program is unclear."""
    said = shlex.join(words)
    known = {
        "start-server-and-test": "starts a server and waits for it",
        "turbo": "runs tasks that turbo.json orders",
        "nx": "runs a target that nx.json and project.json define",
        "make": "runs what the Makefile says",
        "tauri": "starts the app itself",
    }
    return f"{said!r} {known.get(words[0], 'may start a server')}"


def is_cleanup(line: str) -> bool:
    """Tell whether a line only finds and ends what an earlier run left."""
    line = _CMD.sub("", line.replace("2>&1", ""))
    parts = [part.split() for part in line.split("|") if part.strip()]
    runs = [next((it for it in part[1:] if it[0] != "-"), "") if part[0] == "xargs" else part[0] for part in parts]
    return bool(runs) and not set(line) & set(";&`\n") and all(name in _KILLERS | _FILTERS for name in runs)


def only_ends(line: str, scripts: Mapping[str, Any]) -> bool:
    """Tell whether a step only ends what an earlier run left: by its line, or by the line of the script it runs."""
    words = line.split()
    if words[1:2] == ["run"] and len(words) == 3:  # noqa: PLR2004  npm run NAME
        line = str(scripts.get(words[2], line))
    return is_cleanup(re.sub(r"^npx (?:-y |--yes )?|\|\| *(?:exit 0|true|:)$", "", line.strip()))
