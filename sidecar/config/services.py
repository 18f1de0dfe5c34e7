"""The fields of a service: tagged structs, decoded strictly. By the defaults, ``{"type": "vite"}`` alone works.

Names of durations end in ``_ms``: they are in milliseconds. On the wire all names are camelCase.
"""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Literal, get_args

from msgspec import Meta, Struct, field

from sidecar.config.groups import Matches, compiles
from sidecar.config.strict import NAME_SHOWN, REASON_SHOWN, convert_at, fault

Millis = Annotated[int, Meta(ge=0, le=86_400_000)]
PositiveMillis = Annotated[int, Meta(ge=1, le=86_400_000)]
PortNumber = Annotated[int, Meta(ge=1, le=65_535)]
Count = Annotated[int, Meta(ge=0, le=1_000_000)]
PositiveCount = Annotated[int, Meta(ge=1, le=1_000_000)]
Text = Annotated[str, Meta(pattern=r"^[^\x00]*$")]
"""Text that may become an argument, a path or an environment value. The system takes no NUL in these."""
NonEmptyText = Annotated[str, Meta(pattern=r"^[^\x00]+$")]
EnvName = Annotated[str, Meta(pattern=r"^[^\x00=]+$")]

SERVICE_NAME_MOST = 64
"""A name is shown in front of each line of output."""

StopSignal = Literal["SIGTERM", "SIGINT", "SIGHUP", "SIGQUIT", "SIGKILL", "SIGUSR1", "SIGUSR2"]


class _Config(Struct, frozen=True, forbid_unknown_fields=True, rename="camel", kw_only=True, omit_defaults=True):
    """Base: frozen, camelCase on the wire, and an unknown field is an error."""


class PortConfig(_Config, frozen=True, kw_only=True):
    """The port that a service should get, and how the program is told."""

    preferred: PortNumber | None = None
    """The port to try first. Vite: 5173. For a command without it, the system assigns one."""
    host: NonEmptyText = "127.0.0.1"
    """The address to listen on. A service listens beyond loopback only if this says so."""
    env: EnvName | None = None
    """A variable that also gives the port to the program."""
    sticky: bool = True
    """Try the last good port of this project before a new one, so that the page keeps its origin."""
    strict: bool = False
    """Fail if the preferred port is not free, and name its holder. Try no other port."""


class HttpReady(_Config, frozen=True, kw_only=True, tag_field="type", tag="http"):
    """Ready once a GET of ``path`` is answered with ``status``, or else with any status below 500."""

    # Python's $ also matches before a final line feed; with the look-ahead it means the same as in JSON Schema
    path: Annotated[str, Meta(pattern=r"^/[^\x00-\x20\x7f]*$(?!\n)")] = "/"
    status: Annotated[int, Meta(ge=100, le=599)] | Literal["any"] | None = None
    """``"any"`` takes every status: the server is up, whatever it says."""


class TcpReady(_Config, frozen=True, kw_only=True, tag_field="type", tag="tcp"):
    """Ready once the port accepts a connection."""


class LogReady(_Config, frozen=True, kw_only=True, tag_field="type", tag="log"):
    """Ready once a line of output matches the regular expression ``pattern``."""

    pattern: Annotated[str, Meta(pattern=r"^[^\x00]+$", max_length=1_000)]
    """It is matched against the first 2,048 characters of each line. A match that takes 0.2 s is given up.

    Groups named ``url``, or ``port`` and ``host``, say where the program listens. The service is then ready once it
    owns that socket.
    """


class DelayReady(_Config, frozen=True, kw_only=True, tag_field="type", tag="delay"):
    """Ready after ``ms`` milliseconds of running."""

    ms: Millis


Ready = HttpReady | TcpReady | LogReady | DelayReady


class ServerReady(Struct, frozen=True):
    """Ready once the server answers anything at all. Used for dev servers; a configuration cannot ask for it."""


Probe = Ready | ServerReady


class HealthConfig(_Config, frozen=True, kw_only=True):
    """How a ready service is watched; ``interval_ms`` 0 turns it off. A miss makes the service ``unhealthy``."""

    interval_ms: Annotated[int, Meta(ge=0, le=86_400_000)] = 5_000
    timeout_ms: PositiveMillis = 5_000
    restart: bool = False
    """Whether to restart a service that keeps missing its checks. A debugger's breakpoint is a miss, too."""
    failures: PositiveCount = 3
    """With ``restart``: restart after this many misses in a row."""


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
    """After this long ready without a crash, backoff and limit start again from zero."""


class StopConfig(_Config, frozen=True, kw_only=True):
    """How a service is asked to end before it is killed."""

    signal: StopSignal = "SIGTERM"
    timeout_ms: Millis = 5_000
    app_death_grace_ms: Millis = 0
    """The grace if the app is dead. 0 means SIGKILL at once."""


class LogFileConfig(_Config, frozen=True, kw_only=True):
    """How much of a service's output is kept on disk."""

    max_bytes: Annotated[int, Meta(ge=1_024, le=1 << 40)] = 10 << 20
    """The largest size of a file. Before it would get larger, it is rotated."""
    keep: Annotated[int, Meta(ge=0, le=100)] = 3
    """The number of older files to keep."""


class _Service(_Config, frozen=True, kw_only=True, tag_field="type"):
    env: dict[EnvName, Text] = field(default_factory=dict)
    dev: bool = True
    """Whether it runs in development."""
    release: bool | dict[str, Any] | None = None
    """The service in a release: a patch (RFC 7396), a whole service if it has a ``type``, or ``false`` for none."""
    env_file: NonEmptyText | None = None
    """A file of ``NAME=value`` lines, read at each launch. ``env`` wins over it."""
    depends_on: list[NonEmptyText] = field(default_factory=list)
    """Services that must be ready before this one is launched. Starting this one starts them."""
    isolation: Literal["none", "pidNamespace"] = "none"
    """``pidNamespace`` (Linux): the kernel ends all processes of the service in the instant when we die."""
    ready_timeout_ms: Millis = 120_000
    """A service that is not ready after this time is ended. 0 sets no limit."""
    restart: RestartConfig = RestartConfig()
    stop: StopConfig = StopConfig()
    log_file: bool | LogFileConfig = True
    """Whether its output is written to a file."""


class _LongRunning(_Service, frozen=True, kw_only=True):
    health: HealthConfig = HealthConfig()


def type_of(service: _Service | type[_Service]) -> str:
    """Return the ``type`` that a service has in a configuration."""
    return str(service.__struct_config__.tag)


class DevServer(_LongRunning, frozen=True, kw_only=True):
    """A project's dev server. By default it starts as the project's own dev script starts it."""

    root: NonEmptyText = "."
    """The project's folder, absolute or relative to the sidecar's working folder."""
    args: list[Text] | None = None
    """Arguments after ours. If set, even to an empty list, the project's dev script is not read."""
    script: NonEmptyText | None = None
    """The script of package.json that says how to start it, if it is not the dev script."""
    port: PortConfig = PortConfig()


class NodeServer(DevServer, frozen=True, kw_only=True):
    """A dev server that node runs: the framework's own program from node_modules, without a shell or npm."""

    node: NonEmptyText | None = None
    """The node to run. By default it is looked for, first on PATH."""


class ViteService(NodeServer, frozen=True, kw_only=True, tag="vite"):
    """Vite, and frameworks that its command line starts: SvelteKit, React Router, SolidStart, TanStack Start, Qwik."""

    mode: NonEmptyText | None = None
    config_file: NonEmptyText | None = None
    stdin_guard: bool = True
    """Whether node ends with its stdin. This works even if all processes of the sidecar were killed at once."""


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


class CommandService(_LongRunning, frozen=True, kw_only=True, tag="command"):
    """Any program. Its words and environment values may have references such as ``{port}``."""

    command: Annotated[list[Text], Meta(min_length=1)]
    cwd: NonEmptyText = "."
    port: PortConfig | None = None
    ready: Ready | None = None
    """By default it is ready once it listens on its port or, without a port, once it runs."""


class TaskService(_Service, frozen=True, kw_only=True, tag="task"):
    """A program that runs to its end, such as a migration: ready once it has ended with exit code 0."""

    command: Annotated[list[Text], Meta(min_length=1)]
    cwd: NonEmptyText = "."
    port: ClassVar[None] = None
    health: ClassVar[HealthConfig] = HealthConfig(interval_ms=0)


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
    | TaskService
)
SERVICE_TYPES: dict[str, type[Service]] = {type_of(each): each for each in get_args(Service)}
"""The ``type`` of a service → its shape."""


def log_file_of(service: Service) -> LogFileConfig | None:
    """Return how the service's log file is kept; ``None`` if it has none."""
    if isinstance(service.log_file, bool):
        return LogFileConfig() if service.log_file else None
    return service.log_file


def ready_probe(service: Service) -> Probe | None:
    """Return the probe that finds out whether the service is ready; ``None`` if it is ready once it runs."""
    if isinstance(service, TaskService):
        return None
    if not isinstance(service, CommandService):
        return ServerReady()
    return TcpReady() if service.ready is None and service.port is not None else service.ready


def parse_service(value: object, path: str, matches: Matches = compiles) -> Service:
    """Make a service from plain JSON objects.

    Raises ``InvalidParamsError`` that names the place below ``path`` (such as ``$.params.services.web``).
    """
    _check_env(value, path)
    service: Service = convert_at(value, Service, path)
    _check(service, path, matches)
    return service


def _check_env(value: object, path: str) -> None:
    """Check ``env`` here, to name the wrong variable. msgspec does not say which member of a mapping is wrong."""
    env = value.get("env") if isinstance(value, dict) else None
    for name, text in env.items() if isinstance(env, dict) else ():
        convert_at(name, EnvName, f"{path}.env.{name[:NAME_SHOWN]}")
        convert_at(text, Text, f"{path}.env.{name[:NAME_SHOWN]}")


def _check(service: Service, path: str, matches: Matches) -> None:
    """Check what a type cannot express: combinations of fields, and that regular expressions compile."""
    match service:
        case DevServer():
            if service.script and service.args is not None:
                raise fault(f"{path}.script", "script and args both say how it is started")
            if service.script and isinstance(service, ViteService) and (service.mode or service.config_file):
                raise fault(f"{path}.script", "script and mode or configFile both say how it is started")
            _check_args(service, path)
        case CommandService() | TaskService() if service.command[0] == "":
            raise fault(f"{path}.command[0]", "The program's name is empty")
        case CommandService():
            if service.port is None and isinstance(service.ready, HttpReady | TcpReady):
                raise fault(f"{path}.port", "An http or tcp readiness probe needs a port")
            if service.port is not None and service.port.strict and service.port.preferred is None:
                raise fault(f"{path}.port.preferred", "port.strict needs a preferred port")
            if isinstance(service.ready, LogReady):
                _check_pattern(service.ready.pattern, path, matches)


OWN_ARGUMENTS = {
    "--port": "port.preferred",
    "-p": "port.preferred",
    "--host": "port.host",
    "--hostname": "port.host",
    "--address": "port.host",
    "--strictPort": "port.strict",
    "--strict-port": "port.strict",
}
"""Option that the sidecar passes itself → the field to use instead. Vite takes both spellings of strictPort."""

SHORT_HOSTS = {"next": "-H", "gatsby": "-H", "nuxt": "-h", "trunk": "-a"}
"""Type → its short option for the address, if it has one."""

FIELD_ARGUMENTS = {"--mode": "mode", "-m": "mode", "--config": "configFile", "-c": "configFile"}
"""Option → the field that passes it, if that is set."""


def _check_args(service: DevServer, path: str) -> None:
    """Refuse options that the sidecar passes itself. If one is given twice, a dev server takes the second."""
    fields = {"mode": service.mode, "configFile": service.config_file} if isinstance(service, ViteService) else {}
    for at, word in enumerate(service.args or ()):
        if word == "--":
            return  # no options follow
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


def _check_pattern(pattern: str, path: str, matches: Matches) -> None:
    import re  # noqa: PLC0415  only a log probe needs it: start-up time is a feature

    try:
        matches(pattern, ())
    except TimeoutError:
        raise fault(f"{path}.ready.pattern", "The regular expression takes too long to compile") from None
    except (re.error, OverflowError, RecursionError) as error:
        # OverflowError: a count beyond re's bound; RecursionError: nesting beyond it
        reason = f"The regular expression is not valid ({str(error)[:REASON_SHOWN]})"
        raise fault(f"{path}.ready.pattern", reason) from None


def url_of(host: str, port: int, scheme: str = "http", base: str = "/") -> str:
    """Return the address for a browser: ``http://host:port/``. For a wildcard host it is on loopback."""
    reachable = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)  # noqa: S104  compared, not bound
    name = f"[{reachable}]" if ":" in reachable else reachable
    return f"{scheme}://{name}:{port}{base}"
