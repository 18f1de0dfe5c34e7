"""Where a Tauri project is, and its configuration as Tauri itself reads it.

The main file is tauri.conf.json, else tauri.conf.json5, else Tauri.toml; one for the platform, found by the same order,
is merged over it (JSON Merge Patch, RFC 7396). JSON5 is taken in files that end in .json, too.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import Any

from msgspec import Struct

from sidecar.errors import ConfigurationError
from sidecar.files import read_regular
from sidecar.tauri import json5

FOLDER = "src-tauri"
MAIN_FILES = ("tauri.conf.json", "tauri.conf.json5", "Tauri.toml")

FILE_BYTES_MOST = 1 << 20
"""A configuration is written by people; anything larger is another file by mistake."""

_PLATFORM = {"darwin": "macos", "win32": "windows"}.get(sys.platform, "linux")
PLATFORM_FILES = (f"tauri.{_PLATFORM}.conf.json", f"tauri.{_PLATFORM}.conf.json5", f"Tauri.{_PLATFORM}.toml")

_TOML_PLACE = re.compile(
    r"(?P<reason>.*) \(at (?:line (?P<line>\d+), column (?P<column>\d+)|end of document)\)", re.DOTALL
)


class TauriConfigError(ConfigurationError):
    """A file of the Tauri project cannot be read, or says something that is wrong; the message names the place."""


class Project(Struct, frozen=True):
    """A Tauri project's configuration."""

    folder: Path
    """The one with tauri.conf.json: paths in the configuration are relative to it."""
    config: dict[str, Any]
    files: tuple[Path, ...]
    """What it was read from: the main file, and the platform's if there is one."""


def find(root: Path) -> Path | None:
    """The folder with the configuration: ``root`` itself, or src-tauri in it."""
    for folder in (root, root / FOLDER):
        if main_file(folder) is not None:
            return folder
    return None


def main_file(folder: Path) -> Path | None:
    """The configuration's main file, if the folder has one."""
    return _first(folder, MAIN_FILES)


def platform_file(folder: Path) -> Path | None:
    """The file that is merged over it on this platform, if there is one."""
    return _first(folder, PLATFORM_FILES)


def _first(folder: Path, names: tuple[str, ...]) -> Path | None:
    return next((folder / name for name in names if (folder / name).is_file()), None)


def read(folder: Path) -> Project:
    """Read the configuration of ``folder``, which has one (``find``).

    Raises ``TauriConfigError`` with the file, the line and the column of what is wrong.
    """
    main, more = main_file(folder), platform_file(folder)
    config = parse_file(main) if main else {}
    if more is not None:
        config = merge_patch(config, parse_file(more))
    return Project(folder, config, tuple(file for file in (main, more) if file is not None))


def parse_file(file: Path) -> dict[str, Any]:
    """A JSON5 or TOML file's table, by its name. Raises ``TauriConfigError``."""
    return parse_text(file, read_text(file))


def read_text(file: Path) -> str:
    """The text as it is, line ends and BOM included. Raises ``TauriConfigError``."""
    try:
        data = read_regular(file, FILE_BYTES_MOST + 1)
    except OSError as error:  # ENOENT, EACCES, EISDIR: it went, or is not ours to read
        raise TauriConfigError(f"{file} cannot be read: {error.strerror}.", path=str(file)) from None
    if len(data) > FILE_BYTES_MOST:
        raise TauriConfigError(f"{file} is larger than {FILE_BYTES_MOST} bytes: no configuration is.", path=str(file))
    try:
        return data.decode()
    except UnicodeDecodeError as error:
        line = data[: error.start].count(b"\n") + 1
        raise _fault(file, "this is not UTF-8", line, 1) from None


def parse_text(file: Path, text: str) -> dict[str, Any]:
    """As ``parse_file``, of a text that is there already."""
    value = parse_value(file, text)
    if not isinstance(value, dict):
        raise _fault(file, "the file has to be one object", 1, 1)
    return value


def parse_value(file: Path, text: str) -> Any:
    """As ``parse_text``, whatever the value is."""
    if file.suffix in {".toml", ".lock"}:
        return _parse_toml(file, text)
    try:
        return json5.value_of(json5.parse(text))
    except json5.Json5Error as error:
        raise _fault(file, error.reason, error.line, error.column) from None


def _parse_toml(file: Path, text: str) -> dict[str, Any]:
    import tomllib  # noqa: PLC0415  few projects have one

    try:
        return tomllib.loads(text.removeprefix(json5.BOM).replace("\r\n", "\n"))
    except tomllib.TOMLDecodeError as error:
        found = _TOML_PLACE.fullmatch(str(error))
        reason = found["reason"] if found else str(error)
        line = int(found["line"]) if found and found["line"] else text.count("\n") + 1
        raise _fault(file, reason, line, int(found["column"]) if found and found["column"] else 1) from None


def _fault(file: Path, reason: str, line: int, column: int) -> TauriConfigError:
    return TauriConfigError(
        f"{file}:{line}:{column}: {reason}. Correct the file there and try again.",
        path=str(file),
        line=line,
        column=column,
    )


def merge_patch(target: Any, patch: Any) -> Any:
    """RFC 7396: members of ``patch`` replace those of ``target``, null removes, objects are merged."""
    if not isinstance(patch, dict):
        return patch
    merged = dict(target) if isinstance(target, dict) else {}
    for key, value in patch.items():
        if value is None:
            merged.pop(key, None)
        else:
            merged[key] = merge_patch(merged.get(key), value)
    return merged
