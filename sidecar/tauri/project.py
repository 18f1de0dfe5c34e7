"""Find a Tauri project, and read its configuration as Tauri itself does.

The main file is tauri.conf.json, else tauri.conf.json5, else Tauri.toml. A file for the platform, found in the same
order, is merged over it (JSON Merge Patch, RFC 7396). Files that end in .json may be JSON5, too.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import Any

from msgspec import Struct

from sidecar.errors import ConfigurationError
from sidecar.files import is_file, read_regular
from sidecar.tauri import json5

FOLDER = "src-tauri"
MAIN_FILES = ("tauri.conf.json", "tauri.conf.json5", "Tauri.toml")

FILE_BYTES_MOST = 1 << 20
"""People write configurations. A larger file is something else."""

_PLATFORM = {"darwin": "macos", "win32": "windows"}.get(sys.platform, "linux")
PLATFORM_FILES = (f"tauri.{_PLATFORM}.conf.json", f"tauri.{_PLATFORM}.conf.json5", f"Tauri.{_PLATFORM}.toml")

_TOML_PLACE = re.compile(
    r"(?P<reason>.*) \(at (?:line (?P<line>\d+), column (?P<column>\d+)|end of document)\)", re.DOTALL
)


class TauriConfigError(ConfigurationError):
    """A file of the Tauri project cannot be read, or has a fault; the message names the place."""


class Project(Struct, frozen=True):
    """A Tauri project's configuration."""

    folder: Path
    """The folder with tauri.conf.json. Paths in the configuration are relative to it."""
    config: dict[str, Any]
    files: tuple[Path, ...]
    """The files that it was read from: the main file, and the platform's if there is one."""


def find(root: Path) -> Path | None:
    """Return the folder with the configuration: ``root`` itself, or src-tauri in it."""
    for folder in (root, root / FOLDER):
        if main_file(folder) is not None:
            return folder
    return None


def main_file(folder: Path) -> Path | None:
    """Return the configuration's main file, if the folder has one."""
    return _first(folder, MAIN_FILES)


def platform_file(folder: Path) -> Path | None:
    """Return the file that this platform merges over the main file, if there is one."""
    return _first(folder, PLATFORM_FILES)


def _first(folder: Path, names: tuple[str, ...]) -> Path | None:
    return next((folder / name for name in names if is_file(folder / name)), None)


def read(folder: Path) -> Project:
    """Read the configuration of ``folder``, which comes from ``find``.

    Raises ``TauriConfigError`` with the file, the line and the column of the fault.
    """
    main, more = main_file(folder), platform_file(folder)
    config = parse_file(main) if main else {}
    if more is not None:
        config = merge_patch(config, parse_file(more))
    return Project(folder, config, tuple(file for file in (main, more) if file is not None))


def parse_file(file: Path) -> dict[str, Any]:
    """Read the table of a file; its suffix says whether it is TOML or JSON5. Raises ``TauriConfigError``."""
    return parse_text(file, read_text(file))


def read_text(file: Path) -> str:
    """Return the text as it is, with line ends and BOM. Raises ``TauriConfigError``."""
    try:
        data = read_regular(file, FILE_BYTES_MOST + 1)
    except OSError as error:  # ENOENT, EACCES, EISDIR: it was removed, or we may not read it
        raise TauriConfigError(f"{file} cannot be read: {error.strerror}.", path=str(file)) from None
    if len(data) > FILE_BYTES_MOST:
        raise TauriConfigError(f"{file} is larger than {FILE_BYTES_MOST} bytes: no configuration is.", path=str(file))
    try:
        return data.decode()
    except UnicodeDecodeError as error:
        line = data[: error.start].count(b"\n") + 1
        raise _fault(file, "this is not UTF-8", line, 1) from None


def parse_text(file: Path, text: str) -> dict[str, Any]:
    """Parse the text of ``file``, as ``parse_file`` does."""
    value = parse_value(file, text)
    if not isinstance(value, dict):
        raise _fault(file, "the file has to be one object", 1, 1)
    return value


def parse_value(file: Path, text: str) -> Any:
    """Parse the text of ``file`` as ``parse_text`` does, but allow any value."""
    if file.suffix in {".toml", ".lock"}:
        return _parse_toml(file, text)
    try:
        return json5.value_of(json5.parse(text))
    except json5.Json5Error as error:
        raise _fault(file, error.reason, error.line, error.column) from None


def _parse_toml(file: Path, text: str) -> dict[str, Any]:
    import tomllib  # noqa: PLC0415  few projects have one

    try:
        table = tomllib.loads(text.removeprefix(json5.BOM).replace("\r\n", "\n"))
    except tomllib.TOMLDecodeError as error:
        found = _TOML_PLACE.fullmatch(str(error))
        reason = found["reason"] if found else str(error)
        line = int(found["line"]) if found and found["line"] else text.count("\n") + 1
        raise _fault(file, reason, line, int(found["column"]) if found and found["column"] else 1) from None
    except RecursionError:
        raise _fault(file, "it is nested too deeply", 1, 1) from None
    except ValueError:
        raise _fault(file, "a number has too many digits", 1, 1) from None
    if json5.is_too_deep(table):
        raise _fault(file, "it is nested too deeply", 1, 1)
    return table


def _fault(file: Path, reason: str, line: int, column: int) -> TauriConfigError:
    return TauriConfigError(
        f"{file}:{line}:{column}: {reason}.",
        "Correct the file there and try again.",
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
