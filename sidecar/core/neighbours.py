"""The relations between services: which one waits for which, and which port is kept for which."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Literal, Protocol

from msgspec import Struct

from sidecar.config.services import Service
from sidecar.core import diagnosis
from sidecar.core.addresses import AddressBook
from sidecar.core.events import Address, ChoosePort, Effect, Endpoint, Output, Release
from sidecar.core.pending import US, Caller
from sidecar.core.redaction import Redactor
from sidecar.errors import SidecarError
from sidecar.protocol.messages import State


class Neighbour(Protocol):
    """A service as the others see it."""

    config: Service

    @property
    def state(self) -> State:
        """Its present state."""
        ...

    @property
    def desired(self) -> Literal["running", "stopped"]:
        """What the client wants."""
        ...

    @property
    def error(self) -> SidecarError | None:
        """The reason why it has to end, or why it has failed."""
        ...

    def start(self, caller: Caller, now: float) -> None:
        """Start it, unless it is running."""
        ...

    @property
    def gone(self) -> bool:
        """Whether it has no process and no work under way."""
        ...


class Hold(Struct, frozen=True):
    """The reason why a service is not launched now. If there is an ``error``, the service is not launched at all."""

    waiting_for: tuple[str, ...] = ()
    """The services that it depends on and that are not ready yet."""
    ports: tuple[str, ...] = ()
    """The services whose ports have to be chosen first."""
    error: SidecarError | None = None


class Neighbours:
    """All services of a sidecar. Each service uses this to learn about the others."""

    def __init__(self, services: Mapping[str, Neighbour], book: AddressBook, out: Callable[[Effect], None]) -> None:
        """``services`` may get more entries later. ``out`` gets each effect, in order."""
        self._services = services
        self._book = book
        self._out = out
        self._redactor = Redactor(book.tokens.values())

    def start_needed(self, name: str, now: float) -> None:
        """Start the services that this one depends on, side by side. Each of them starts its own."""
        for dependency in self._services[name].config.depends_on:
            if self._services[dependency].desired == "stopped":
                self._services[dependency].start(US, now)

    def hold(self, name: str) -> Hold | None:
        """Return why the service has to wait before its launch; ``None`` if it need not."""
        waiting_for = []
        for dependency in self._services[name].config.depends_on:
            neighbour = self._services[dependency]
            if neighbour.desired == "stopped":
                return Hold(error=diagnosis.dependency_failed(name, dependency, neighbour.error))
            if neighbour.state != "ready":
                waiting_for.append(dependency)
        missing = self._book.missing(name)
        for target in missing:
            if target in self._book.problems:
                return Hold(error=self._book.problems[target])
        waits = waiting_for or missing or name in self._book.choosing
        # a service without a configured port prints its address itself, once it runs
        ports = tuple(target for target in missing if self._services[target].config.port is not None)
        return Hold(tuple(waiting_for), ports) if waits else None

    def choose_ports(self, names: Iterable[str]) -> None:
        """Have the ports of these services chosen, unless that is under way."""
        for name in names:
            # a service that is being prepared chooses its port itself
            if name not in self._book.choosing and self._services[name].gone:
                self._book.choosing.add(name)
                self._out(ChoosePort(name, self._services[name].config))

    def may_stop(self, name: str) -> bool:
        """Tell whether all services that depend on this one are gone."""
        return all(each.gone for each in self._services.values() if name in each.config.depends_on)

    def values(self, name: str) -> dict[str, str]:
        """Return the values that the service refers to: the others' addresses, and tokens."""
        return self._book.values(name)

    def token(self, name: str) -> str | None:
        """Return the service's token; ``None`` if no service refers to it."""
        return self._book.tokens.get(name)

    def redacted(self, output: Output) -> Output:
        """Return the output without tokens."""
        return self._redactor.output(output)

    def kept_port(self, name: str) -> int | None:
        """Return the port that other services have got already; ``None`` if there is none."""
        return self._book.port_of(name)

    def port_chosen(self, name: str, endpoint: Endpoint) -> None:
        """Keep the port that was chosen for the service."""
        self._book.choosing.discard(name)
        self._book.chosen(name, endpoint)
        self._release_unless_needed(name)

    def answered(self, name: str, address: Address) -> None:
        """Keep the address at which the ready service answers."""
        self._book.answered(name, address)

    def port_not_chosen(self, name: str, error: SidecarError) -> None:
        """Keep the error. Services that need the port get it when they ask, until ``forget_problems``."""
        self._book.choosing.discard(name)
        self._book.problems[name] = error

    def forget_problems(self) -> None:
        """Forget all such errors. The next service that asks makes another try."""
        self._book.problems.clear()

    def rest(self, name: str) -> None:
        """Give back the ports that no service needs any more, after this one has come to rest."""
        self._book.problems.pop(name, None)
        if not self._is_needed(name):
            self._book.forget(name)
            self._out(Release(name))
        for target in self._book.targets(name):
            self._release_unless_needed(target)

    def _release_unless_needed(self, name: str) -> None:
        at_rest = self._services[name].desired == "stopped" and self._services[name].gone
        if at_rest and self._book.port_of(name) is not None and not self._is_needed(name):
            self._book.forget(name)
            self._out(Release(name))

    def _is_needed(self, name: str) -> bool:
        return any(self._services[each].desired == "running" for each in self._book.referrers(name))
