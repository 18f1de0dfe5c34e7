"""Check the services that a project declares: references, order, and both variants. This starts nothing."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from pathlib import Path

from sidecar.commands.doctor.finding import Finding, Verdict, finding_of
from sidecar.config.groups import compiles
from sidecar.config.references import is_foreign, split_key
from sidecar.config.services import DevServer, NodeServer, Service, TaskService, type_of
from sidecar.config.variants import Variant, only_in_a_checkout
from sidecar.config.wiring import references
from sidecar.errors import ConfigurationError
from sidecar.files import is_file, is_folder, is_there, leads_out
from sidecar.host.programs import SEPARATORS
from sidecar.services import launch
from sidecar.tauri.project import find, read
from sidecar.tauri.section import Services
from sidecar.tauri.standalone import find_services


def check_services(root: str) -> tuple[list[Finding], Mapping[str, Service]]:
    """Return the findings about the declared services, and the services of development.

    Both are empty if none are declared. Call it inside ``looking_at``, which bounds the time: it compiles patterns.
    """
    try:
        dev, release = _services_of(root, "dev"), _services_of(root, "release")
    except ConfigurationError as error:
        return [finding_of(error, "services")], {}
    if dev is None or release is None or not (dev.services or release.services):
        return [], {}
    page = f"; the page is {dev.page}'s" if dev.page else ""
    ordered = any(each.depends_on for each in dev.services.values())
    return [
        Finding("services", "ok", f"{len(dev.services)} in {dev.source}{page}"),
        *([Finding("order", "ok", _order(dev.services))] if ordered else []),
        *(_service(name, each) for name, each in dev.services.items()),
        *_release(release.services),
    ], dev.services


def _services_of(root: str, variant: Variant) -> Services | None:
    place = find(Path(root))
    project = read(place) if place is not None else None
    return find_services(Path(root), project, None, compiles, variant)


def _order(services: Mapping[str, Service]) -> str:
    """List the services that wait for nothing, then those that wait for these, and so on."""
    steps: list[list[str]] = []
    done: set[str] = set()
    while len(done) < len(services):  # this ends, because parse_services refuses cycles
        ready = [name for name, each in services.items() if name not in done and done >= set(each.depends_on)]
        steps.append(ready)
        done.update(ready)
    return "; then ".join(", ".join(step) for step in steps)


def _service(name: str, service: Service) -> Finding:
    """Report a service of development: what it is, and the first thing that it lacks."""
    folder = service.root if isinstance(service, DevServer) else service.cwd
    what = f"{type_of(service)} in {folder}"
    if not isinstance(service, DevServer):
        what = f"{type_of(service)}: {' '.join(service.command)}"
    targets = sorted({split_key(key)[0] for key in references(service) if is_foreign(key)})
    if targets:
        what += f"; it refers to {', '.join(targets)}"
    lacks = next(_lacks(name, service, folder), None)
    if lacks is None:
        return Finding(name, "ok", what)
    verdict, found, advice = lacks
    return Finding(name, verdict, f"{what}; {found}", advice)


def _lacks(name: str, service: Service, folder: str) -> Iterator[tuple[Verdict, str, str]]:
    if leads_out(folder):
        yield "note", f"{folder} is outside of the project, so doctor does not check it", "A start uses it."
        return
    field = "root" if isinstance(service, DevServer) else "cwd"
    if not is_folder(folder):
        yield "bad", f"the folder {folder} does not exist", f"Correct {field} of {name}, or make that folder."
        return
    if service.env_file is not None and not leads_out(service.env_file) and not is_file(service.env_file):
        yield "bad", f"there is no {service.env_file}", f"Make that file, or correct envFile of {name}."
    if isinstance(service, DevServer):
        return
    program = service.command[0]
    if any(separator in program for separator in SEPARATORS):
        if not is_there(os.path.join(folder, program)):
            yield "bad", f"there is no {program} in {folder}", f"Make it, or correct command[0] of {name}."
    elif launch.which(program, folder) is None:
        advice = "A start also asks the login shell for it. If the shell has none either, install it."
        yield "note", f"{program} is not on PATH", advice


def _release(services: Mapping[str, Service]) -> Iterator[Finding]:
    """Report the services of a release, and their commands that only work in a checkout."""
    names = [f"{name} (task)" if isinstance(each, TaskService) else name for name, each in services.items()]
    yield Finding("release", "ok", f"it has {', '.join(names)}" if names else "it has no services")
    for name, each in services.items():
        odd = None if isinstance(each, DevServer) else only_in_a_checkout({"command": list(each.command)})
        if odd is not None:
            advice = f"Give {name} a release with a command of its own, or release: false."
            yield Finding("release", "note", f"{name} would be started there with {odd}, as in development", advice)


def wants_node(services: Mapping[str, Service]) -> bool:
    """Tell whether node runs one of them."""
    return any(isinstance(each, NodeServer) for each in services.values())
