"""``sidecar.json``: the services of a project that is not a Tauri app, or that keeps them out of its configuration.

A project declares its services in one file only: ``find_services`` says which.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
from msgspec import Struct

from sidecar.config.groups import Matches
from sidecar.config.strict import convert_at
from sidecar.config.variants import Variant
from sidecar.config.wiring import parse_services
from sidecar.errors import ConfigurationError, InvalidParamsError
from sidecar.files import is_there, read_regular
from sidecar.tauri.project import FILE_BYTES_MOST, Project, TauriConfigError
from sidecar.tauri.section import Services, check_page, read_services, with_absolute_paths

NAME = "sidecar.json"


class File(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The fields of the file, with their defaults."""

    schema_: str = msgspec.field(default="", name="$schema")
    """For editors."""
    services: dict[str, Any] = {}
    page: str | None = None
    """The service that ``--open`` opens. By default it is the only dev server."""


def read_file(file: Path, matches: Matches, variant: Variant = "dev") -> Services:
    """Read the services of a variant. ``matches`` as for ``parse_services``.

    Raises ``TauriConfigError`` that names the file and the field.
    """
    try:
        data = read_regular(file, FILE_BYTES_MOST + 1)
    except OSError as error:
        # ENOENT, EACCES, EISDIR, a pipe: the user has to name another file
        raise TauriConfigError(f"{file} cannot be read: {error.strerror}.", path=str(file)) from None
    if len(data) > FILE_BYTES_MOST:
        raise TauriConfigError(f"{file} is larger than {FILE_BYTES_MOST} bytes: no configuration is.", path=str(file))
    try:
        value = msgspec.json.decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise TauriConfigError(f"{file} is not JSON ({error}).", "Correct it.", path=str(file)) from None
    try:
        found: File = convert_at(value, File, "$")
        page = check_page(found.page, found.services, "$")
        services = parse_services(found.services, "$.services", variant, matches)
        if page is not None and page not in services:
            page = None
    except InvalidParamsError as error:
        advice = "Correct that field and try again."
        raise TauriConfigError(f"{file}: {error.problem}", advice, path=error.data["path"]) from None
    folder = file.absolute().parent
    return Services(page, {name: with_absolute_paths(folder, each) for name, each in services.items()}, str(file))


def find_services(
    root: Path, project: Project | None, config: str | None, matches: Matches, variant: Variant = "dev"
) -> Services | None:
    """Read the services of ``config``, else of ``sidecar.json`` in ``root``, else of ``plugins.sidecar``.

    Check both variants; return the services of one. Raises ``ConfigurationError``.
    """
    if config is not None:
        return read_file(Path(config), matches, variant)
    section = read_services(project, matches, variant) if project is not None else None
    own = root / NAME
    if not is_there(own):
        return section
    if section is not None and section.services:
        raise ConfigurationError(
            f"Both {own} and {section.source} say what to run.",
            "Name a file with --config, or keep the services in only one place.",
        )
    return read_file(own, matches, variant)
