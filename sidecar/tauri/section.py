"""``plugins.sidecar`` of a Tauri configuration. The plugin's src/config.rs accepts and refuses the same."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import msgspec
from msgspec import Struct

from sidecar.config.groups import Matches
from sidecar.config.services import SERVICE_TYPES, DevServer, Service, TaskService, type_of
from sidecar.config.strict import convert_at, fault
from sidecar.config.variants import Variant
from sidecar.config.wiring import parse_services
from sidecar.errors import InvalidParamsError
from sidecar.tauri.project import Project, TauriConfigError

PLACE = "$.plugins.sidecar"

TASK = type_of(TaskService)


class Section(Struct, frozen=True, forbid_unknown_fields=True, rename="camel", kw_only=True):
    """The fields of the section, with their defaults."""

    services: dict[str, Any] = {}
    """Name → service, as in the protocol's ``initialize``."""
    page: str | None = None
    """The service that the windows show. By default it is the only dev server."""
    print: bool = True
    """Whether ``tauri dev`` prints the services' output."""


class Services(Struct, frozen=True):
    """The services of the section, ready to start from any folder."""

    page: str | None
    services: dict[str, Service]
    source: str
    """The files that declare them, for people."""


def read_services(project: Project, matches: Matches, variant: Variant = "dev") -> Services:
    """Read the services of a variant; none if the project has no such section. ``matches`` as for ``parse_services``.

    Raises ``TauriConfigError`` that names the file and the field.
    """
    plugins = project.config.get("plugins")
    value = plugins.get("sidecar") if isinstance(plugins, dict) else None
    try:
        section = parse_section(value)
        services = parse_services(section.services, f"{PLACE}.services", variant, matches)
        if variant == "dev" and section.page is not None and section.page not in services:
            raise fault(f"{PLACE}.page", f"{section.page} shows the page, but its field dev says that it does not run")
    except InvalidParamsError as error:
        files = " and ".join(map(str, project.files))
        advice = "Correct that field and try again."
        raise TauriConfigError(f"{files}: {error.problem}", advice, path=error.data["path"]) from None
    found = {name: with_absolute_paths(project.folder, each) for name, each in services.items()}
    return Services(section.page, found, f"plugins.sidecar of {' and '.join(map(str, project.files))}")


def parse_section(value: object) -> Section:
    """Parse the section and fill in ``page``. Raises ``InvalidParamsError`` that names the field."""
    if value is None:
        return Section()
    section: Section = convert_at(value, Section, PLACE)
    return msgspec.structs.replace(section, page=check_page(section.page, section.services, PLACE))


def check_page(page: str | None, services: dict[str, Any], path: str) -> str | None:
    """Return the service with the page: the named one, or the only dev server. Raises ``InvalidParamsError``."""
    if page is not None:
        if page not in services:
            raise fault(f"{path}.page", f"There is no service {page!r} in services")
        if _type_of(services[page]) == TASK:
            raise fault(f"{path}.page", f"{page} is a task, which shows no page")
        return page
    servers = [name for name, each in services.items() if isinstance(each, dict) and _is_server(each)]
    if len(servers) > 1:
        raise fault(f"{path}.page", "There is more than one dev server: name the service that the windows show")
    return servers[0] if servers else None


def _type_of(service: object) -> str:
    return str(service.get("type")) if isinstance(service, dict) else ""


def _is_server(service: dict[str, Any]) -> bool:
    shape = SERVICE_TYPES.get(_type_of(service))
    return shape is not None and issubclass(shape, DevServer)


def with_absolute_paths(folder: Path, service: Service) -> Service:
    """Make the service's paths absolute. They are relative to the configuration, but a person runs us anywhere."""
    if service.env_file is not None:
        env_file = os.path.normpath(folder.absolute() / service.env_file)
        service = msgspec.structs.replace(service, env_file=env_file)
    if isinstance(service, DevServer):
        return msgspec.structs.replace(service, root=os.path.normpath(folder.absolute() / service.root))
    return msgspec.structs.replace(service, cwd=os.path.normpath(folder.absolute() / service.cwd))
