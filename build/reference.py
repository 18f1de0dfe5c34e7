"""Write the pages of the reference that come from the code: python3 build/dev.py docs --write.

``fields.md`` comes from ``sidecar schema --config`` and the words of ``build/fields.toml``; ``options.md`` comes from
the parser of the command line. ``tests/test_reference.py`` checks that the pages are as this script writes them.
"""

from __future__ import annotations

import argparse
import json
import sys
import tomllib
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from textwrap import fill
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
DOCS = ROOT / "tauri-integration" / "docs"
WORDS = ROOT / "build" / "fields.toml"

if str(ROOT) not in sys.path:
    sys.path.insert(0, str(ROOT))

from sidecar.cli import make_parser  # noqa: E402  a script finds the package only now
from sidecar.commands.schema import config_schema  # noqa: E402

MADE = "<!-- Made by: python3 build/dev.py docs --write. Change {source}, not this page. -->"
FIELDS_INTRO = """\
[Configuration](configuration.md) explains what the fields do together. A field in **bold** has to be there, and an
unknown field is an error. Times are in milliseconds. A relative path is relative to the folder of `tauri.conf.json` or
`sidecar.json`; in a release, to the app's resources."""
OPTIONS_INTRO = """\
[Command line](command-line.md) says what each command does. [Exit codes](exit-codes.md) are those of all commands."""
COMMON_INTRO = """\
`sidecar --help` lists the commands. `--parent-pid` and `--log-level` may also stand before the name of a command."""
COLUMNS = 120
Types = dict[str, Any]
"""Name of a type in the schema → its schema."""

SERVER_TABLES = ("service", "server", "node")
TABLES_OF = {"vite": (*SERVER_TABLES, "vite"), "trunk": ("service", "server"), "command": ("service", "command")}
TABLES_OF["task"] = ("service", "task")
"""``type`` of a service → the tables with its fields. Any other type has ``SERVER_TABLES``."""

NESTED = {
    "port": "PortConfig",
    "health": "HealthConfig",
    "restart": "RestartConfig",
    "restart.backoff": "BackoffConfig",
    "stop": "StopConfig",
    "logFile": "LogFileConfig",
}
READY = {"http": "HttpReady", "tcp": "TcpReady", "log": "LogReady", "delay": "DelayReady"}
"""A table → the type in the schema."""


# ── fields ────────────────────────────────────────────────────────────────────────────────────────────────────────────


def fields_page() -> str:
    """Return the page of all fields. Raises ValueError if the words and the schema have different fields."""
    schema = json.loads(config_schema())
    types: Types = schema["definitions"]
    words: dict[str, dict[str, str]] = tomllib.loads(WORDS.read_text(encoding="utf-8"))
    services = {_tag(each): each for name, each in types.items() if name.endswith("Service") and "properties" in each}
    for tag, each in services.items():
        tables = TABLES_OF.get(tag, SERVER_TABLES)
        _same(tag, each["properties"], {"type"}.union(*(words[table] for table in tables)))
    servers = sorted(services.keys() - {"command", "task"})

    def part(table: str, of: dict[str, Any]) -> str:
        return _table(of, words[table])

    def whole(table: str, of: dict[str, Any]) -> str:
        _same(table, of["properties"].keys() - {"type"}, set(words[table]))
        return part(table, of)

    parts = [
        "# Every field",
        MADE.format(source="build/fields.toml or the code"),
        FIELDS_INTRO,
        "## plugins.sidecar",
        whole("section", schema),
        "## Every service",
        "`type` says which service it is. These fields are the same for all types.",
        part("service", services["task"]),
        "## Dev servers",
        fill(f"The types are {_listed(f'`{tag}`' for tag in servers)}.", COLUMNS, break_on_hyphens=False),
        _table(services["vite"], words["server"] | words["node"]),
        "`trunk` has no `node`, because node does not run it.",
        "## vite",
        "It has these fields, too.",
        part("vite", services["vite"]),
        "## command",
        part("command", services["command"]),
        "## task",
        part("task", services["task"]),
    ]
    for table, name in NESTED.items():
        parts += [f"## {table}", whole(table, types[name])]
    parts += ["## ready", "Its `type` is one of these. [Ready](configuration.md#ready) explains them."]
    for tag, name in READY.items():
        text = whole(f"ready {tag}", types[name])
        parts += [f"### ready: {tag}", text if words[f"ready {tag}"] else "It has no field but `type`."]
    return "\n\n".join(parts) + "\n"


def _same(what: str, found: Iterable[str], said: set[str]) -> None:
    if (names := set(found)) != said:
        raise ValueError(f"{what}: build/fields.toml and the schema differ in {sorted(names ^ said)}")


def _tag(service: dict[str, Any]) -> str:
    return str(service["properties"]["type"]["enum"][0])


def _table(of: dict[str, Any], words: dict[str, str]) -> str:
    rows = ["| field | type | default | meaning |", "|---|---|---|---|"]
    for name, meaning in words.items():
        field = of["properties"][name]
        shown = f"**`{name}`**" if name in of["required"] else f"`{name}`"
        rows.append(f"| {shown} | {_kind(field)} | {_default(field)} | {meaning} |")
    return "\n".join(rows)


def _kind(field: dict[str, Any]) -> str:
    """Return a field's type in the words of JSON."""
    if "anyOf" in field:
        return " or ".join(dict.fromkeys(_kind(each) for each in field["anyOf"] if each != {"type": "null"}))
    if "$ref" in field:
        return "object"
    if "enum" in field:
        return " or ".join(f"`{json.dumps(value)}`" for value in field["enum"])
    match field["type"]:
        case "array":
            return f"list of {_kind(field['items'])}s"
        case "string":
            return "text"
        case "integer" | "number":
            bounds = f"{field['minimum']:,} to {field['maximum']:,}" if "maximum" in field else ""
            return f"number, {bounds}" if bounds else "number"
        case "boolean":
            return "`true` or `false`"
        case other:
            return str(other)


def _default(field: dict[str, Any]) -> str:
    """Return a field's default as JSON; nothing if it has none."""
    default = field.get("default")
    return "" if default is None else f"`{json.dumps(default)}`"


def _listed(words: Iterable[str]) -> str:
    *most, last = words
    return f"{', '.join(most)} and {last}" if most else last


# ── options ───────────────────────────────────────────────────────────────────────────────────────────────────────────


def options_page() -> str:
    """Return the page of all commands and options."""
    parser = make_parser()
    parts = [
        "# Every option",
        MADE.format(source="the parser"),
        OPTIONS_INTRO,
        "## sidecar",
        COMMON_INTRO,
        _options(parser),
    ]
    for name, command, purpose in _commands(parser):
        example = _example(command)
        parts += [f"## sidecar {name}", f"{purpose[0].upper()}{purpose[1:]}.", f"```\n{_usage(command)}\n```"]
        if rows := _options(command):
            parts.append(rows)
        parts += ["For example:", f"```sh\n{example}\n```"]
    return "\n\n".join(parts) + "\n"


def _commands(parser: argparse.ArgumentParser) -> Iterator[tuple[str, argparse.ArgumentParser, str]]:
    """Yield each command's name, parser and purpose."""
    for action in parser._actions:  # noqa: SLF001  argparse has no public list
        if isinstance(action, argparse._SubParsersAction):  # noqa: SLF001
            purposes = {choice.dest: choice.help or "" for choice in action._choices_actions}  # noqa: SLF001
            for name, command in action.choices.items():
                yield name, command, purposes[name]


def _usage(command: argparse.ArgumentParser) -> str:
    """Return a command's usage in one line. argparse would break it by the width of the terminal."""
    words = [command.prog]
    for action in command._actions:  # noqa: SLF001
        if isinstance(action, argparse._HelpAction):  # noqa: SLF001
            continue
        shown = _value(action)
        text = f"{action.option_strings[0]}{shown and f' {shown}'}" if action.option_strings else shown
        words.append(f"[{text}]" if action.option_strings or action.nargs == "?" else text)
    return " ".join([*words, "[-- PROGRAM …]"] if command.prog.endswith(" dev") else words)


def _options(command: argparse.ArgumentParser) -> str:
    """Return a table of the arguments and options; nothing if there are none."""
    rows = [
        f"| {_names(action)} | {_help(action)} |"
        for action in command._actions  # noqa: SLF001
        if not isinstance(action, argparse._HelpAction | argparse._SubParsersAction)  # noqa: SLF001
        and action.help is not argparse.SUPPRESS
    ]
    return "\n".join(["| option | meaning |", "|---|---|", *rows]) if rows else ""


def _example(command: argparse.ArgumentParser) -> str:
    """Return the example at the end of its help."""
    return (command.epilog or "").partition("example:\n  ")[2].partition("\n")[0]


def _names(action: argparse.Action) -> str:
    value = _value(action)
    return ", ".join(f"`{name} {value}`".replace(" `", "`") for name in action.option_strings) or f"`{value}`"


def _value(action: argparse.Action) -> str:
    """Return the placeholder of the value; nothing if the option takes none."""
    if action.nargs == 0:
        return ""
    return str(action.metavar or action.dest.upper())


def _help(action: argparse.Action) -> str:
    """Return an option's help as a cell of a table."""
    text = "print the version and end" if isinstance(action, argparse._VersionAction) else action.help or ""  # noqa: SLF001
    return f"{text}: {_listed(map(str, action.choices))}" if action.choices and not action.option_strings else text


PAGES: dict[str, Callable[[], str]] = {"fields.md": fields_page, "options.md": options_page}


def main() -> int:
    """Write all pages."""
    for name, page in PAGES.items():
        (DOCS / name).write_text(page(), encoding="utf-8", newline="\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
