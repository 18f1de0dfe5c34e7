"""What a service is: tagged structs, decoded strictly, with defaults that work with ``{"type": "vite"}`` alone.

Durations end in ``_ms`` and are milliseconds; on the wire all names are camelCase.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import GenericAlias
from typing import Annotated, Any, Literal, get_args

import msgspec
from msgspec import Meta, Struct, field

from sidecar.errors import InvalidParamsError

Millis = Annotated[int, Meta(ge=0, le=86_400_000)]
PositiveMillis = Annotated[int, Meta(ge=1, le=86_400_000)]
PortNumber = Annotated[int, Meta(ge=1, le=65_535)]
Count = Annotated[int, Meta(ge=0, le=1_000_000)]
PositiveCount = Annotated[int, Meta(ge=1, le=1_000_000)]
Text = Annotated[str, Meta(pattern=r"^[^\x00]*$")]
"""Text that may become an argument, a path or an environment value: the system takes none with a NUL in it."""
NonEmptyText = Annotated[str, Meta(pattern=r"^[^\x00]+$")]
EnvName = Annotated[str, Meta(pattern=r"^[^\x00=]+$")]

REASON_SHOWN = 200
"""So much of a reason is sent back: it quotes the client, who may have sent a whole line of it."""

SERVICE_NAME_MOST = 64
"""A name stands in front of each line of output."""

NAME_SHOWN = 64
"""As ``REASON_SHOWN``, for the name of a variable."""

StopSignal = Literal["SIGTERM", "SIGINT", "SIGHUP", "SIGQUIT", "SIGKILL", "SIGUSR1", "SIGUSR2"]


class _Config(Struct, frozen=True, forbid_unknown_fields=True, rename="camel", kw_only=True, omit_defaults=True):
    """Base: frozen, camelCase on the wire, a misspelt field is an error."""


class PortConfig(_Config, frozen=True, kw_only=True):
    """Which port a service would like, and how it is told."""

    preferred: PortNumber | None = None
    """Tried first. Vite: 5173; a command without it gets one that the system assigns."""
    host: NonEmptyText = "127.0.0.1"
    """The address to listen on. Anything but loopback must be asked for here."""
    env: EnvName | None = None
    """A variable that also carries the port to the program."""
    sticky: bool = True
    """Try the last good port of this project before a new one, so that the page keeps its origin."""
    strict: bool = False
    """Fail if the preferred port is not free, and name its holder. Try no other port."""


class HttpReady(_Config, frozen=True, kw_only=True, tag_field="type", tag="http"):
    """Ready once a GET of ``path`` is answered with ``status``, or else with any status below 500."""

    # Python's $ also matches before a last line feed; the look-ahead says the same to Python and to JSON Schema
    path: Annotated[str, Meta(pattern=r"^/[^\x00-\x20\x7f]*$(?!\n)")] = "/"
    status: Annotated[int, Meta(ge=100, le=599)] | Literal["any"] | None = None
    """``"any"`` takes every status: the server is up, whatever it says."""


class TcpReady(_Config, frozen=True, kw_only=True, tag_field="type", tag="tcp"):
    """Ready once the port accepts a connection."""


class LogReady(_Config, frozen=True, kw_only=True, tag_field="type", tag="log"):
    """Ready once a line of output matches the regular expression ``pattern``."""

    pattern: Annotated[str, Meta(pattern=r"^[^\x00]+$", max_length=1_000)]
    """It is compared with the first 2,048 characters of each line, and given up if that takes 0.2 s."""


class DelayReady(_Config, frozen=True, kw_only=True, tag_field="type", tag="delay"):
    """Ready after ``ms`` milliseconds of running."""

    ms: Millis


Ready = HttpReady | TcpReady | LogReady | DelayReady


class ServerReady(Struct, frozen=True):
    """Ready once the server answers anything at all: how a dev server is probed. Not a part of any configuration."""


Probe = Ready | ServerReady


class HealthConfig(_Config, frozen=True, kw_only=True):
    """How a ready service is watched; ``interval_ms`` 0 turns it off. A miss makes the service ``unhealthy``."""

    interval_ms: Annotated[int, Meta(ge=0, le=86_400_000)] = 5_000
    timeout_ms: PositiveMillis = 5_000
    restart: bool = False
    """Whether a service that keeps missing its checks is restarted. A debugger's breakpoint is a miss, too."""
    failures: PositiveCount = 3
    """With ``restart``: so many misses in a row, and the service is restarted."""


class BackoffConfig(_Config, frozen=True, kw_only=True):
    """Delays between restarts: ``initial_ms`` × ``factor`` ^ n, at most ``max_ms``, ± ``jitter`` as a share."""

    initial_ms: Millis = 250
    factor: Annotated[float, Meta(ge=1.0, le=10.0)] = 2.0
    max_ms: Millis = 15_000
    jitter: Annotated[float, Meta(ge=0.0, le=1.0)] = 0.2


class RestartConfig(_Config, frozen=True, kw_only=True):
    """When a service that ended is started again: at most ``limit`` times in ``window_ms``."""

    policy: Literal["onFailure", "always", "never"] = "onFailure"
    backoff: BackoffConfig = BackoffConfig()
    limit: Count = 5
    window_ms: PositiveMillis = 60_000
    reset_after_ms: PositiveMillis = 30_000
    """So long ready without a crash, and the backoff and the budget start afresh."""


class StopConfig(_Config, frozen=True, kw_only=True):
    """How a service is asked to end before it is killed."""

    signal: StopSignal = "SIGTERM"
    timeout_ms: Millis = 5_000
    app_death_grace_ms: Millis = 0
    """Grace when the *app* is dead: 0 is SIGKILL at once."""


class _Service(_Config, frozen=True, kw_only=True, tag_field="type"):
    env: dict[EnvName, Text] = field(default_factory=dict)
    isolation: Literal["none", "pidNamespace"] = "none"
    """``pidNamespace`` (Linux): the kernel ends all that the service started in the instant when we die."""
    ready_timeout_ms: Millis = 120_000
    """A service that is not ready after so long is ended. 0 sets no limit."""
    health: HealthConfig = HealthConfig()
    restart: RestartConfig = RestartConfig()
    stop: StopConfig = StopConfig()


def type_of(service: _Service | type[_Service]) -> str:
    """The ``type`` that a service has in a configuration."""
    return str(service.__struct_config__.tag)


class DevServer(_Service, frozen=True, kw_only=True):
    """A project's dev server. Unless told how, it is started as the project's own dev script starts it."""

    root: NonEmptyText = "."
    """The project, absolute or relative to the sidecar's working folder."""
    args: list[Text] | None = None
    """Arguments for it, after ours. Given, even without any: the project's dev script is not looked at."""
    script: NonEmptyText | None = None
    """The script of package.json that says how it is started, if that is not its dev script."""
    port: PortConfig = PortConfig()


class NodeServer(DevServer, frozen=True, kw_only=True):
    """One that node runs: its own program from node_modules, with no shell and no npm between."""

    node: NonEmptyText | None = None
    """The node to run; else the one on PATH."""


class ViteService(NodeServer, frozen=True, kw_only=True, tag="vite"):
    """Vite, or what Vite's own command line starts: SvelteKit, React Router, SolidStart, TanStack Start, Qwik."""

    mode: NonEmptyText | None = None
    config_file: NonEmptyText | None = None
    stdin_guard: bool = True
    """Whether node ends when its stdin does: what is left when everything of ours was killed at once."""


class AstroService(NodeServer, frozen=True, kw_only=True, tag="astro"):
    """Astro: ``astro dev``."""


class NuxtService(NodeServer, frozen=True, kw_only=True, tag="nuxt"):
    """Nuxt: ``nuxt dev``."""


class NextService(NodeServer, frozen=True, kw_only=True, tag="next"):
    """Next.js: ``next dev``."""


class AngularService(NodeServer, frozen=True, kw_only=True, tag="angular"):
    """Angular: ``ng serve``."""


class VinxiService(NodeServer, frozen=True, kw_only=True, tag="vinxi"):
    """SolidStart 1 and others on Vinxi: ``vinxi dev``."""


class GatsbyService(NodeServer, frozen=True, kw_only=True, tag="gatsby"):
    """Gatsby: ``gatsby develop``."""


class RemixService(NodeServer, frozen=True, kw_only=True, tag="remix"):
    """Remix with its classic compiler: ``remix dev``."""


class RsbuildService(NodeServer, frozen=True, kw_only=True, tag="rsbuild"):
    """Rsbuild: ``rsbuild dev``."""


class VueCliService(NodeServer, frozen=True, kw_only=True, tag="vue-cli"):
    """Vue CLI: ``vue-cli-service serve``."""


class ReactScriptsService(NodeServer, frozen=True, kw_only=True, tag="react-scripts"):
    """Create React App: ``react-scripts start``."""


class ParcelService(NodeServer, frozen=True, kw_only=True, tag="parcel"):
    """Parcel: ``parcel serve``."""


class WebpackService(NodeServer, frozen=True, kw_only=True, tag="webpack"):
    """webpack-dev-server: ``webpack serve``."""


class TrunkService(DevServer, frozen=True, kw_only=True, tag="trunk"):
    """Trunk: ``trunk serve``, from PATH."""


class CommandService(_Service, frozen=True, kw_only=True, tag="command"):
    """Any program. ``{port}``, ``{host}`` and ``{url}`` are filled in in its words and environment values."""

    command: Annotated[list[Text], Meta(min_length=1)]
    cwd: NonEmptyText = "."
    port: PortConfig | None = None
    ready: Ready | None = None
    """Absent: ready once it listens on its port or, without a port, once it runs."""


Service = (
    ViteService
    | AstroService
    | NuxtService
    | NextService
    | AngularService
    | VinxiService
    | GatsbyService
    | RemixService
    | RsbuildService
    | VueCliService
    | ReactScriptsService
    | ParcelService
    | WebpackService
    | TrunkService
    | CommandService
)
SERVICE_TYPES: dict[str, type[Service]] = {type_of(each): each for each in get_args(Service)}
"""The ``type`` of a service → its shape."""


def ready_probe(service: Service) -> Probe | None:
    """How it is found out that the service is ready; ``None`` if it is as soon as it runs."""
    if not isinstance(service, CommandService):
        return ServerReady()
    return TcpReady() if service.ready is None and service.port is not None else service.ready


def parse_services(values: Mapping[str, object], path: str) -> dict[str, Service]:
    """Make services of plain JSON objects; ``path`` is the place of the whole (such as ``$.params.services``).

    Raises ``InvalidParamsError`` that names the place.
    """
    services: dict[str, Service] = {}
    for name, value in values.items():
        place = f"{path}.{name}" if name else f'{path}[""]'
        if not name or len(name) > SERVICE_NAME_MOST or not name.isprintable():
            reason = f"A service's name has 1 to {SERVICE_NAME_MOST} printable characters at {place}."
            raise InvalidParamsError(reason, path=place)
        services[name] = parse_service(value, place)
    return services


def parse_service(value: object, path: str) -> Service:
    """Make one service of plain JSON objects.

    Raises ``InvalidParamsError`` that names the place below ``path`` (such as ``$.params.services.web``).
    """
    _check_env(value, path)
    service: Service = convert_at(value, Service, path)
    _check(service, path)
    return service


def convert_at(value: object, shape: object, path: str) -> Any:
    """``value`` as ``shape``.

    Raises ``InvalidParamsError`` with msgspec's reason and the whole path, of which it knows only the end.
    """
    try:
        # in a box every reason ends with a place, so that none is ever read out of text that the client chose
        return msgspec.convert((value,), GenericAlias(tuple, (shape,)))[0]
    except msgspec.ValidationError as error:
        reason, place = place_of(error)
        raise fault(path + place.removeprefix("[0]"), reason) from None


def place_of(error: msgspec.ValidationError) -> tuple[str, str]:
    """Take msgspec's ``reason - at `$.a[0]` `` (or ``reason - at `key` in `$.a` ``) apart: the reason and ``.a[0]``."""
    reason, at, place = str(error).rpartition(" - at `")
    if not at:
        reason, place = place, ""
    if len(reason) > REASON_SHOWN:
        reason = f"{reason[:REASON_SHOWN]}…"
    return reason, place.partition("$")[2].rstrip("`")


def _check_env(value: object, path: str) -> None:
    """Name the variable: of a mapping's members msgspec does not say which one is wrong."""
    env = value.get("env") if isinstance(value, dict) else None
    for name, text in env.items() if isinstance(env, dict) else ():
        convert_at(name, EnvName, f"{path}.env.{name[:NAME_SHOWN]}")
        convert_at(text, Text, f"{path}.env.{name[:NAME_SHOWN]}")


def _check(service: Service, path: str) -> None:
    """What a type cannot say: combinations, and regular expressions that must compile."""
    match service:
        case DevServer():
            if service.script and service.args is not None:
                raise fault(f"{path}.script", "script and args both say how it is started")
            if service.script and isinstance(service, ViteService) and (service.mode or service.config_file):
                raise fault(f"{path}.script", "script and mode or configFile both say how it is started")
            _check_args(service, path)
        case CommandService():
            if service.command[0] == "":
                raise fault(f"{path}.command[0]", "The program's name is empty")
            uses_port = any(
                mark in text
                for text in (*service.command, *service.env.values())
                for mark in ("{port}", "{host}", "{url}")
            )
            if service.port is None and uses_port:
                raise fault(f"{path}.port", "{port}, {host} or {url} is used, but the service has no port")
            if service.port is None and isinstance(service.ready, HttpReady | TcpReady):
                raise fault(f"{path}.port", "An http or tcp readiness probe needs a port")
            if service.port is not None and service.port.strict and service.port.preferred is None:
                raise fault(f"{path}.port.preferred", "port.strict needs the port that it is about")
            if isinstance(service.ready, LogReady):
                _check_pattern(service.ready.pattern, path)


OWN_ARGUMENTS = {
    "--port": "port.preferred",
    "-p": "port.preferred",
    "--host": "port.host",
    "--hostname": "port.host",
    "--address": "port.host",
    "--strictPort": "port.strict",
    "--strict-port": "port.strict",
}
"""Options that the sidecar passes itself, and the field for each. Vite takes both spellings of strictPort."""

SHORT_HOSTS = {"next": "-H", "gatsby": "-H", "nuxt": "-h", "trunk": "-a"}
"""What is short for the address, of the types that have it."""

FIELD_ARGUMENTS = {"--mode": "mode", "-m": "mode", "--config": "configFile", "-c": "configFile"}
"""Options that a field passes if it is set."""


def _check_args(service: DevServer, path: str) -> None:
    """Refuse options that the sidecar passes itself. Given twice, a dev server would heed the second one."""
    fields = {"mode": service.mode, "configFile": service.config_file} if isinstance(service, ViteService) else {}
    for at, word in enumerate(service.args or ()):
        if word == "--":
            return  # what follows are no options
        option = word.partition("=")[0]
        if option.startswith("-p") and option[2:].isdecimal():
            option = "-p"
        place = f"{path}.args[{at}]"
        short = option == SHORT_HOSTS.get(type_of(service))
        if field_name := "port.host" if short else OWN_ARGUMENTS.get(option):
            raise fault(place, f"The sidecar passes {option} itself: use the field {field_name} instead")
        field_name = FIELD_ARGUMENTS.get(option)
        if field_name and fields.get(field_name) is not None:
            raise fault(place, f"{option} is given twice, here and in the field {field_name}")


def _check_pattern(pattern: str, path: str) -> None:
    import re  # noqa: PLC0415  only a log probe needs it: start-up time is a feature

    try:
        re.compile(pattern)
    except (re.error, OverflowError, RecursionError) as error:
        # the last two: counts and nesting beyond re's own bounds
        reason = f"The regular expression is not valid ({str(error)[:REASON_SHOWN]})"
        raise fault(f"{path}.ready.pattern", reason) from None


def fault(place: str, reason: str) -> InvalidParamsError:
    """The error that says what is wrong at a place."""
    return InvalidParamsError(f"{reason} at {place}. Correct that field and send the request again.", path=place)


def fill(text: str, *, host: str, port: int, url: str) -> str:
    """Fill in ``{port}``, ``{host}`` and ``{url}``; every other brace stays as it is."""
    return text.replace("{port}", str(port)).replace("{host}", host).replace("{url}", url)


def url_of(host: str, port: int, scheme: str = "http", base: str = "/") -> str:
    """The address a browser opens: ``http://host:port/``; a wildcard host is reached on loopback."""
    reachable = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)  # noqa: S104  compared, not bound
    name = f"[{reachable}]" if ":" in reachable else reachable
    return f"{scheme}://{name}:{port}{base}"
