"""Check how services depend on and refer to each other, before anything is started."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, get_args

from sidecar.config.groups import Matches, compiles, names_address
from sidecar.config.references import ADDRESS_FIELDS, FIELDS, TOKEN, is_foreign, keys_in, split_key
from sidecar.config.services import (
    SERVICE_NAME_MOST,
    CommandService,
    DevServer,
    LogReady,
    Service,
    parse_service,
)
from sidecar.config.strict import did_you_mean, fault
from sidecar.config.variants import Variant, in_variant, refuse_variants
from sidecar.errors import InvalidParamsError

REFERENCE_SHOWN = 150
"""Bound on a key in an answer, because it is the client's text."""


def parse_services(
    values: Mapping[str, object], path: str, variant: Variant | None = None, matches: Matches = compiles
) -> dict[str, Service]:
    """Make services from plain JSON objects. ``path`` is their place (such as ``$.params.services``).

    With a ``variant``, check both variants and return the services of this one. ``matches`` compiles their patterns:
    within our bound of length, some need seconds. Raises ``InvalidParamsError`` that names the place.
    """
    for name in values:
        if not name or len(name) > SERVICE_NAME_MOST or not name.isprintable():
            place = f"{path}.{name}" if name else f'{path}[""]'
            reason = f"A service's name has 1 to {SERVICE_NAME_MOST} printable characters at {place}."
            raise InvalidParamsError(reason, path=place)
    services = {name: parse_service(value, f"{path}.{name}", matches) for name, value in values.items()}
    if variant is None:
        for name, value in values.items():
            refuse_variants(value, f"{path}.{name}")
        _Check(services, {name: f"{path}.{name}" for name in services}).run()
        return services
    found = {each: _in_variant(values, each, path, matches) for each in get_args(Variant)}
    return found[variant]


def _in_variant(values: Mapping[str, Any], variant: Variant, path: str, matches: Matches) -> dict[str, Service]:
    services: dict[str, Service] = {}
    places: dict[str, str] = {}
    for name, value in values.items():
        place = f"{path}.{name}"
        made = in_variant(value, variant, place)
        if made is not None:
            patched = variant == "release" and isinstance(value.get("release"), dict)
            places[name] = f"{place}.release" if patched else place
            services[name] = parse_service(made, places[name], matches)
    _Check(services, places, {name: variant for name in values if name not in services}).run()
    return services


def texts_of(service: Service) -> Iterator[tuple[str, str]]:
    """Yield each text that may have references, with its place in the service."""
    words = ("args", service.args or ()) if isinstance(service, DevServer) else ("command", service.command)
    yield from ((f"{words[0]}[{at}]", word) for at, word in enumerate(words[1]))
    yield from ((f"env.{name}", text) for name, text in service.env.items())


def references(service: Service) -> frozenset[str]:
    """Return the keys of all references of the service."""
    return frozenset(key for _, text in texts_of(service) for key in keys_in(text))


def _tells_address(service: Service) -> bool:
    """Tell whether the service's output says where it listens."""
    probe = service.ready if isinstance(service, CommandService) else None
    return isinstance(probe, LogReady) and names_address(probe.pattern)


class _Check:
    """Refuses services that could never start, and references that can never have a value."""

    def __init__(
        self, services: Mapping[str, Service], places: Mapping[str, str], left_out: Mapping[str, Variant] | None = None
    ) -> None:
        """``left_out`` has the declared services that this variant does not have."""
        self._services = services
        self._places = places
        self._left_out = left_out or {}

    def run(self) -> None:
        """Raise ``InvalidParamsError`` for the first fault."""
        for name, service in self._services.items():
            for at, dependency in enumerate(service.depends_on):
                self._exists(dependency, f"{self._places[name]}.dependsOn[{at}]", repr(dependency[:SERVICE_NAME_MOST]))
            self._references(name, service)
        self._order()

    def _exists(self, name: str, place: str, shown: str) -> None:
        if variant := self._left_out.get(name):
            where = "a release" if variant == "release" else "development"
            raise fault(place, f"{shown} names a service that {where} does not have", variant=variant)
        if name not in self._services:
            said, data = did_you_mean(name, self._services)
            raise fault(place, f"{shown} names no service ({said})", **data)

    def _order(self) -> None:
        """Refuse services that would wait for each other forever."""
        done: set[str] = set()
        for name in self._services:
            if cycle := _cycle_from([name], self._services, done):
                at = self._services[cycle[0]].depends_on.index(cycle[1])
                reason = f"These services depend on each other: {' → '.join(cycle)}"
                raise fault(f"{self._places[cycle[0]]}.dependsOn[{at}]", reason, cycle=cycle)

    def _references(self, name: str, service: Service) -> None:
        """Refuse references that can never have a value. The program would get the braces."""
        path = self._places[name]
        for place, text in texts_of(service):
            for key in keys_in(text):
                at = f"{path}.{place}"
                target, field = split_key(key) if is_foreign(key) else (name, key)
                shown = f"{{{key[:REFERENCE_SHOWN]}}}"
                if is_foreign(key) and target == name:
                    raise fault(at, f"{shown} is about the service itself, where {{{field}}} will do")
                self._exists(target, at, shown)
                if field not in FIELDS:
                    said, data = did_you_mean(field, FIELDS)
                    raise fault(at, f"{shown} names no field of a service ({said})", **data)
                if field == TOKEN and not place.startswith("env."):
                    raise fault(at, f"{shown} stands in a command line, which every user can read, and not in env")
                if field in ADDRESS_FIELDS and self._services[target].port is None:
                    self._captured(name, target, at, shown)

    def _captured(self, name: str, target: str, at: str, shown: str) -> None:
        """Refuse a reference to the address of a service without a port, unless its output tells it in time."""
        if not _tells_address(self._services[target]):
            if target == name:
                raise fault(f"{self._places[name]}.port", f"{shown} is used, but the service has no port")
            raise fault(at, f"{shown} is used, but {target} has no port")
        if target == name:
            raise fault(at, f"{shown} is used, but the service tells its address itself, once it runs")
        if target not in self._services[name].depends_on:
            raise fault(at, f"{shown} is known once {target} runs, so dependsOn has to name {target}")


def _cycle_from(way: list[str], services: Mapping[str, Service], done: set[str]) -> list[str] | None:
    """Find a cycle of dependencies that the path ``way`` leads into. Services in ``done`` lead into no cycle."""
    for name in services[way[-1]].depends_on:
        if name in way:
            return [*way[way.index(name) :], name]
        if name not in done and (cycle := _cycle_from([*way, name], services, done)):
            return cycle
    done.add(way[-1])
    return None
