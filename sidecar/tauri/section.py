"""``plugins.sidecar`` of a Tauri configuration, taken and refused as the plugin does (its src/config.rs)."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Annotated, Any

import msgspec
from msgspec import Meta, Struct

from sidecar.config import SERVICE_TYPES, DevServer, Service, convert_at, fault, parse_services
from sidecar.errors import InvalidParamsError
from sidecar.tauri.project import Project, TauriConfigError

PLACE = "$.plugins.sidecar"

_WORD = "[A-Za-z0-9](?:[A-Za-z0-9-]*[A-Za-z0-9])?"
PERMISSION = rf"^(?!tauri-plugin-)(?=.{{1,116}}$)(?:core(?::{_WORD})*|{_WORD}(?::{_WORD})?)$(?!\n)"
"""What Tauri takes as a permission's identifier."""


class Section(Struct, frozen=True, forbid_unknown_fields=True, rename="camel", kw_only=True):
    """The section, with each field's default."""

    services: dict[str, Any] = {}
    """Name → service, as in the protocol's ``initialize``."""
    page: str | None = None
    """The service that the window shows; without it, the only dev server there is."""
    window: str = "main"
    """The label of the window that shows it."""
    permissions: tuple[Annotated[str, Meta(pattern=PERMISSION)], ...] = ("core:default", "sidecar:default")
    """What the page may do if its origin is not the app's own."""


class Services(Struct, frozen=True):
    """What the section asks for, ready to be started from any folder."""

    page: str | None
    services: dict[str, Service]


def read_services(project: Project) -> Services:
    """The services of a project; none where it has no such section.

    Raises ``TauriConfigError`` that names the file and the field.
    """
    plugins = project.config.get("plugins")
    value = plugins.get("sidecar") if isinstance(plugins, dict) else None
    try:
        section = parse_section(value)
        services = parse_services(section.services, f"{PLACE}.services")
    except InvalidParamsError as error:
        files = " and ".join(map(str, project.files))
        reason = error.message.replace("send the request again", "try again")
        raise TauriConfigError(f"{files}: {reason}", path=error.data["path"]) from None
    return Services(section.page, {name: _from(project.folder, each) for name, each in services.items()})


def parse_section(value: object) -> Section:
    """The section with ``page`` filled in. Raises ``InvalidParamsError`` that names the field."""
    if value is None:
        return Section()
    _check_permissions(value)
    section: Section = convert_at(value, Section, PLACE)
    if section.page is not None:
        if section.page not in section.services:
            raise fault(f"{PLACE}.page", f"There is no service {section.page!r} in services")
        return section
    servers = [name for name, each in section.services.items() if isinstance(each, dict) and _is_server(each)]
    if len(servers) > 1:
        raise fault(f"{PLACE}.page", "There is more than one dev server: name the service that the window shows")
    return msgspec.structs.replace(section, page=servers[0] if servers else None)


def _is_server(service: dict[str, Any]) -> bool:
    shape = SERVICE_TYPES.get(str(service.get("type")))
    return shape is not None and issubclass(shape, DevServer)


def _check_permissions(value: object) -> None:
    """In better words than a type's, which would quote a regular expression."""
    permissions = value.get("permissions") if isinstance(value, dict) else None
    for at, name in enumerate(permissions) if isinstance(permissions, list) else ():
        if isinstance(name, str) and not re.match(PERMISSION, name):
            raise fault(f"{PLACE}.permissions[{at}]", f"{name!r} is no permission's name")


def _from(folder: Path, service: Service) -> Service:
    """The same with its folder absolute: the plugin runs the sidecar where the configuration is, a person anywhere."""
    if isinstance(service, DevServer):
        return msgspec.structs.replace(service, root=os.path.normpath(folder.absolute() / service.root))
    return msgspec.structs.replace(service, cwd=os.path.normpath(folder.absolute() / service.cwd))
