"""A service's configuration: its defaults, and errors that name the place of a fault."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator
from typing import Any, get_args

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sidecar.config.services import (
    BackoffConfig,
    CommandService,
    DelayReady,
    HealthConfig,
    HttpReady,
    LogReady,
    PortConfig,
    RestartConfig,
    Service,
    StopConfig,
    StopSignal,
    TcpReady,
    ViteService,
    parse_service,
    url_of,
)
from sidecar.config.wiring import parse_services
from sidecar.errors import InvalidParamsError

PLACE = "$.params.services.web"
COMMAND = {"type": "command", "command": ["serve"]}


def fault_of(value: object) -> InvalidParamsError:
    with pytest.raises(InvalidParamsError) as caught:
        parse_services({"web": value}, "$.params.services")
    assert str(caught.value.data["path"]) in caught.value.message
    assert caught.value.message.endswith("Correct that field and send the request again.")
    return caught.value


def place_of(value: object) -> str:
    return str(fault_of(value).data["path"]).removeprefix(PLACE)


# ── what is right ─────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_type_alone_is_a_vite_service_with_all_its_defaults() -> None:
    assert parse_service({"type": "vite"}, PLACE) == ViteService(
        root=".",
        args=None,
        mode=None,
        config_file=None,
        node=None,
        stdin_guard=True,
        isolation="none",
        env={},
        port=PortConfig(preferred=None, host="127.0.0.1", env=None, sticky=True),
        ready_timeout_ms=120_000,
        health=HealthConfig(interval_ms=5_000, timeout_ms=5_000, restart=False, failures=3),
        restart=RestartConfig(
            policy="onFailure",
            backoff=BackoffConfig(initial_ms=250, factor=2.0, max_ms=15_000, jitter=0.2),
            limit=5,
            window_ms=60_000,
            reset_after_ms=30_000,
        ),
        stop=StopConfig(signal="SIGTERM", timeout_ms=5_000, app_death_grace_ms=0),
    )


def test_a_command_needs_its_words_and_has_no_port_and_no_probe_of_its_own() -> None:
    service = parse_service(COMMAND, PLACE)
    assert isinstance(service, CommandService)
    assert (service.command, service.cwd, service.port, service.ready) == (["serve"], ".", None, None)
    assert service.restart == RestartConfig()


def test_every_field_is_taken_in_camel_case() -> None:
    service = parse_service(
        {
            **COMMAND,
            "command": ["node", "server.js", "--port", "{port}"],
            "cwd": "api",
            "env": {"URL": "{url}", "EMPTY": ""},
            "port": {"preferred": 8000, "host": "0.0.0.0", "env": "PORT", "sticky": False},
            "ready": {"type": "http", "path": "/health?deep=1", "status": 200},
            "readyTimeoutMs": 1,
            "health": {"intervalMs": 0, "timeoutMs": 1, "failures": 1},
            "restart": {
                "policy": "always",
                "backoff": {"initialMs": 0, "factor": 1, "maxMs": 0, "jitter": 1},
                "limit": 0,
                "windowMs": 1,
                "resetAfterMs": 1,
            },
            "stop": {"signal": "SIGKILL", "timeoutMs": 0, "appDeathGraceMs": 86_400_000},
        },
        PLACE,
    )
    assert service == CommandService(
        command=["node", "server.js", "--port", "{port}"],
        cwd="api",
        env={"URL": "{url}", "EMPTY": ""},
        port=PortConfig(preferred=8000, host="0.0.0.0", env="PORT", sticky=False),
        ready=HttpReady(path="/health?deep=1", status=200),
        ready_timeout_ms=1,
        health=HealthConfig(interval_ms=0, timeout_ms=1, failures=1),
        restart=RestartConfig(
            policy="always",
            backoff=BackoffConfig(initial_ms=0, factor=1.0, max_ms=0, jitter=1.0),
            limit=0,
            window_ms=1,
            reset_after_ms=1,
        ),
        stop=StopConfig(signal="SIGKILL", timeout_ms=0, app_death_grace_ms=86_400_000),
    )


@pytest.mark.parametrize(
    ("ready", "wanted"),
    [
        ({"type": "http"}, HttpReady(path="/", status=None)),
        ({"type": "tcp"}, TcpReady()),
        ({"type": "log", "pattern": r"listening on \d+"}, LogReady(pattern=r"listening on \d+")),
        ({"type": "delay", "ms": 0}, DelayReady(ms=0)),
    ],
)
def test_each_kind_of_readiness_is_taken(ready: object, wanted: object) -> None:
    service = parse_service({**COMMAND, "port": {}, "ready": ready}, PLACE)
    assert isinstance(service, CommandService)
    assert service.ready == wanted


@pytest.mark.parametrize("signal", get_args(StopSignal))
def test_each_stop_signal_is_taken(signal: str) -> None:
    assert parse_service({"type": "vite", "stop": {"signal": signal}}, PLACE).stop.signal == signal


@pytest.mark.parametrize("ready", [None, {"type": "log", "pattern": "x"}, {"type": "delay", "ms": 5}])
def test_a_program_without_a_port_can_be_ready_by_what_needs_none(ready: object) -> None:
    parse_service({**COMMAND, "ready": ready}, PLACE)


def test_a_written_service_reads_back_as_the_same() -> None:
    for value in ({"type": "vite", "root": "x"}, {**COMMAND, "port": {"preferred": 1}}):
        service = parse_service(value, PLACE)
        assert parse_service(msgspec.json.decode(msgspec.json.encode(service)), PLACE) == service


def test_a_vite_takes_any_argument_that_is_not_the_sidecar_s_own() -> None:
    args = ["--force", "--mode", "a", "--config=b", "--base", "/x/", "--open", "--", "--port", "1"]
    assert parse_service({"type": "vite", "args": args}, PLACE) == ViteService(args=args)
    parse_service({"type": "vite", "args": ["--mode", "a"], "configFile": "b"}, PLACE)


@pytest.mark.parametrize(
    ("word", "field"),
    [
        ("--port=1", "port.preferred"),
        ("-p", "port.preferred"),
        ("--host", "port.host"),
        ("--strictPort", "port.strict"),
        ("--strict-port", "port.strict"),
    ],
)
def test_argument_that_is_the_sidecars_own_is_refused_with_its_field(word: str, field: str) -> None:
    with pytest.raises(InvalidParamsError, match=rf"use the field {re.escape(field)} instead at \$.*\.args\[0\]"):
        parse_service({"type": "vite", "args": [word]}, PLACE)


@pytest.mark.parametrize(
    ("kind", "word", "field"),
    [
        ("next", "-p4000", "port.preferred"),
        ("next", "-H", "port.host"),
        ("gatsby", "-H=0.0.0.0", "port.host"),
        ("nuxt", "-h", "port.host"),
        ("trunk", "-a", "port.host"),
    ],
)
def test_what_is_short_for_it_is_answered_so_too(kind: str, word: str, field: str) -> None:
    with pytest.raises(InvalidParamsError, match=rf"use the field {re.escape(field)} instead"):
        parse_service({"type": kind, "args": [word]}, PLACE)


def test_a_short_option_that_means_something_else_elsewhere_is_taken() -> None:
    parse_service({"type": "vite", "args": ["-h", "-prod"]}, PLACE)


def test_a_strict_port_of_a_vite_may_be_its_own_default() -> None:
    assert parse_service({"type": "vite", "port": {"strict": True}}, PLACE).port == PortConfig(strict=True)


# ── what is wrong ─────────────────────────────────────────────────────────────────────────────────────────────────────

VITE_FAULTS: list[tuple[dict[str, Any], str]] = [
    ({"root": ""}, ".root"),
    ({"root": None}, ".root"),
    ({"root": 1}, ".root"),
    ({"root": "a\0b"}, ".root"),
    ({"cwd": "."}, ""),
    ({"Root": "."}, ""),
    ({"args": "--force"}, ".args"),
    ({"args": ["--force", 1]}, ".args[1]"),
    ({"args": ["a", "b", "\0"]}, ".args[2]"),
    ({"mode": ""}, ".mode"),
    ({"configFile": ["a"]}, ".configFile"),
    ({"config_file": "a"}, ""),
    ({"node": 20}, ".node"),
    ({"env": []}, ".env"),
    ({"env": {"A": 1}}, ".env.A"),
    ({"env": {"A": "1", "B": None, "C": "3"}}, ".env.B"),
    ({"env": {"A": "a\0"}}, ".env.A"),
    ({"env": {"A=B": "1"}}, ".env.A=B"),
    ({"env": {"": "1"}}, ".env."),
    ({"port": 5173}, ".port"),
    ({"port": None}, ".port"),
    ({"port": {"preferred": 0}}, ".port.preferred"),
    ({"port": {"preferred": 65_536}}, ".port.preferred"),
    ({"port": {"preferred": -1}}, ".port.preferred"),
    ({"port": {"preferred": "5173"}}, ".port.preferred"),
    ({"port": {"preferred": 5173.0}}, ".port.preferred"),
    ({"port": {"preferred": True}}, ".port.preferred"),
    ({"port": {"preferred": 10**400}}, ".port.preferred"),
    ({"port": {"prefered": 5173}}, ".port"),
    ({"port": {"host": ""}}, ".port.host"),
    ({"port": {"host": None}}, ".port.host"),
    ({"port": {"env": "A=B"}}, ".port.env"),
    ({"port": {"sticky": "yes"}}, ".port.sticky"),
    ({"port": {"strict": 1}}, ".port.strict"),
    ({"args": ["--port", "3000"]}, ".args[0]"),
    ({"args": ["--force", "--port=3000"]}, ".args[1]"),
    ({"args": ["-p", "3000"]}, ".args[0]"),
    ({"args": ["--host"]}, ".args[0]"),
    ({"args": ["--host=0.0.0.0"]}, ".args[0]"),
    ({"args": ["--strictPort"]}, ".args[0]"),
    ({"args": ["--strictPort=false"]}, ".args[0]"),
    ({"args": ["--strict-port"]}, ".args[0]"),
    ({"args": ["--mode", "a"], "mode": "b"}, ".args[0]"),
    ({"args": ["--mode=a"], "mode": "b"}, ".args[0]"),
    ({"args": ["-m", "a"], "mode": "b"}, ".args[0]"),
    ({"args": ["--force", "--config", "a"], "configFile": "b"}, ".args[1]"),
    ({"args": ["-c=a"], "configFile": "b"}, ".args[0]"),
    ({"readyTimeoutMs": -1}, ".readyTimeoutMs"),
    ({"readyTimeoutMs": 86_400_001}, ".readyTimeoutMs"),
    ({"readyTimeoutMs": 1.5}, ".readyTimeoutMs"),
    ({"health": False}, ".health"),
    ({"health": {"intervalMs": -1}}, ".health.intervalMs"),
    ({"health": {"timeoutMs": 0}}, ".health.timeoutMs"),
    ({"health": {"failures": 0}}, ".health.failures"),
    ({"restart": "always"}, ".restart"),
    ({"restart": {"policy": "on-failure"}}, ".restart.policy"),
    ({"restart": {"limit": -1}}, ".restart.limit"),
    ({"restart": {"windowMs": 0}}, ".restart.windowMs"),
    ({"restart": {"resetAfterMs": 0}}, ".restart.resetAfterMs"),
    ({"restart": {"backoff": {"initialMs": -1}}}, ".restart.backoff.initialMs"),
    ({"restart": {"backoff": {"factor": 0.99}}}, ".restart.backoff.factor"),
    ({"restart": {"backoff": {"factor": 10**400}}}, ".restart.backoff.factor"),
    ({"restart": {"backoff": {"factor": float("nan")}}}, ".restart.backoff.factor"),
    ({"restart": {"backoff": {"jitter": 1.01}}}, ".restart.backoff.jitter"),
    ({"restart": {"backoff": {"jitter": float("inf")}}}, ".restart.backoff.jitter"),
    ({"restart": {"backoff": {"jitter": True}}}, ".restart.backoff.jitter"),
    ({"restart": {"backoff": {"maxMs": "1s"}}}, ".restart.backoff.maxMs"),
    ({"stop": {"signal": "SIGSTOP"}}, ".stop.signal"),
    ({"stop": {"signal": 15}}, ".stop.signal"),
    ({"stop": {"timeoutMs": None}}, ".stop.timeoutMs"),
    ({"stop": {"appDeathGraceMs": -1}}, ".stop.appDeathGraceMs"),
    ({"ready": {"type": "tcp"}}, ""),
]
COMMAND_FAULTS: list[tuple[dict[str, Any], str]] = [
    ({"command": []}, ".command"),
    ({"command": "serve"}, ".command"),
    ({"command": [None]}, ".command[0]"),
    ({"command": ["serve", 1]}, ".command[1]"),
    ({"command": ["serve", "a\0"]}, ".command[1]"),
    ({"command": [""]}, ".command[0]"),
    ({"command": ["serve", "{port}"]}, ".port"),
    ({"command": ["serve", "--at={host}"]}, ".port"),
    ({"env": {"URL": "{url}"}}, ".port"),
    ({"root": "."}, ""),
    ({"cwd": ""}, ".cwd"),
    ({"ready": "tcp"}, ".ready"),
    ({"ready": {}}, ".ready"),
    ({"ready": {"type": "ping"}}, ".ready.type"),
    ({"ready": {"type": 1}}, ".ready.type"),
    ({"port": {"strict": True}}, ".port.preferred"),
    ({"ready": {"type": "http"}}, ".port"),
    ({"ready": {"type": "tcp"}}, ".port"),
    ({"port": {}, "ready": {"type": "http", "path": "health"}}, ".ready.path"),
    ({"port": {}, "ready": {"type": "http", "path": "/a b"}}, ".ready.path"),
    ({"port": {}, "ready": {"type": "http", "path": "/a\n"}}, ".ready.path"),
    ({"port": {}, "ready": {"type": "http", "path": "/a\r\nHost: b"}}, ".ready.path"),
    ({"port": {}, "ready": {"type": "http", "status": 99}}, ".ready.status"),
    ({"port": {}, "ready": {"type": "tcp", "ms": 1}}, ".ready"),
    ({"ready": {"type": "log"}}, ".ready"),
    ({"ready": {"type": "log", "pattern": ""}}, ".ready.pattern"),
    ({"ready": {"type": "log", "pattern": "("}}, ".ready.pattern"),
    ({"ready": {"type": "log", "pattern": "(" * 5_000}}, ".ready.pattern"),
    ({"ready": {"type": "log", "pattern": "a{99999999999}"}}, ".ready.pattern"),
    ({"ready": {"type": "log", "pattern": f"(?P<{'x' * 5_000}-"}}, ".ready.pattern"),
    ({"ready": {"type": "delay"}}, ".ready"),
    ({"ready": {"type": "delay", "ms": -1}}, ".ready.ms"),
]


@pytest.mark.parametrize("value", [None, [], "vite", 1, True, {}, {"root": "."}], ids=repr)
def test_what_is_no_service_at_all_is_named_by_the_services_own_place(value: object) -> None:
    assert place_of(value) == ""


@pytest.mark.parametrize("kind", ["", "Vite", "grunt", 1, None, ["vite"]], ids=repr)
def test_a_type_that_does_not_exist_is_named(kind: object) -> None:
    assert place_of({"type": kind}) == ".type"


@pytest.mark.parametrize(("more", "place"), VITE_FAULTS, ids=lambda value: repr(value)[:50])
def test_a_fault_in_a_vite_service_is_named_by_its_place(more: dict[str, Any], place: str) -> None:
    assert place_of({"type": "vite", **more}) == place


@pytest.mark.parametrize(("more", "place"), COMMAND_FAULTS, ids=lambda value: repr(value)[:50])
def test_a_fault_in_a_command_is_named_by_its_place(more: dict[str, Any], place: str) -> None:
    assert place_of({**COMMAND, **more}) == place


def test_an_unknown_field_is_named_in_the_message_whatever_it_is_called() -> None:
    for name in ("prot", "x - at `$.env`", "x` - at `$.env"):
        fault = fault_of({"type": "vite", "port": {name: 1}})
        assert (name in fault.message, fault.data["path"]) == (True, f"{PLACE}.port")


def test_no_fault_quotes_more_than_the_beginning_of_what_is_wrong() -> None:
    long = "x" * 100_000
    for value in (
        {"type": long},
        {"type": "vite", long: 1},
        {"type": "vite", "stop": {"signal": long}},
        {"type": "vite", "env": {long: 1}},
        {**COMMAND, "ready": {"type": "log", "pattern": f"(?P<{long}-"}},
    ):
        assert len(fault_of(value).message) < 500


WHOLE: list[dict[str, Any]] = [
    {
        "type": "vite",
        "root": "app",
        "args": ["--force"],
        "mode": "test",
        "configFile": "c.ts",
        "node": "node",
        "env": {"A": "1"},
        "port": {"preferred": 1, "host": "::1", "env": "P", "sticky": True},
        "readyTimeoutMs": 1,
        "health": {"intervalMs": 1, "timeoutMs": 1, "failures": 1},
        "restart": {
            "policy": "always",
            "backoff": {"initialMs": 1, "factor": 1.5, "maxMs": 1, "jitter": 0.5},
            "limit": 1,
            "windowMs": 1,
            "resetAfterMs": 1,
        },
        "stop": {"signal": "SIGINT", "timeoutMs": 1, "appDeathGraceMs": 1},
    },
    {
        "type": "command",
        "command": ["serve", "-v"],
        "cwd": "app",
        "port": {"preferred": 1},
        "ready": {"type": "http", "path": "/", "status": 200},
    },
    {"type": "command", "command": ["serve"], "ready": {"type": "log", "pattern": "x"}},
    {"type": "command", "command": ["serve"], "ready": {"type": "delay", "ms": 1}},
]
OF_EVERY_KIND: list[Any] = [None, True, 0, -1, 1.5, 10**400, float("nan"), "", "x", "\0", [], ["\0"], {}, {"": 1}]


def _places(value: Any, place: str = "") -> Iterator[tuple[str, Any, Any]]:
    """Yield every place in the value, with the object or array and the key that lead there."""
    for key, inner in value.items() if isinstance(value, dict) else enumerate(value):
        below = f"{place}[{key}]" if isinstance(value, list) else f"{place}.{key}"
        yield below, value, key
        if isinstance(inner, dict | list):
            yield from _places(inner, below)


@pytest.mark.parametrize("service", WHOLE, ids=lambda service: str(service)[:60])
def test_whatever_stands_at_any_place_it_is_taken_or_named_by_that_place(service: dict[str, Any]) -> None:
    refused: list[tuple[str, object, str]] = []
    parse_service(service, PLACE)
    for place, inside, key in _places(service):
        right = inside[key]
        for wrong in OF_EVERY_KIND:
            inside[key] = wrong
            try:
                parse_service(service, PLACE)
            except InvalidParamsError as fault:
                refused.append((place, wrong, str(fault.data["path"]).removeprefix(PLACE)))
        inside[key] = right
    for place, wrong, named in refused:
        assert named.startswith(place) if isinstance(wrong, dict | list) else named == place, (place, wrong, named)
    assert len(refused) > len(service) * len(OF_EVERY_KIND) / 3, "the wrong ones are wrong"


_json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)
_fields = ("env", "port", "health", "restart", "stop", "ready", "command", "cwd", "root", "args", "readyTimeoutMs")


@settings(max_examples=300)
@given(st.fixed_dictionaries({"type": st.sampled_from(["vite", "command"])}, optional=dict.fromkeys(_fields, _json)))
def test_any_json_is_a_service_or_a_fault_at_or_below_its_place(value: dict[str, Any]) -> None:
    try:
        found: Service | str = parse_service(value, PLACE)
    except InvalidParamsError as fault:
        found = str(fault.data["path"])
    assert isinstance(found, Service) or found.startswith(PLACE)


# ── small words ───────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("host", "url"),
    [
        ("127.0.0.1", "http://127.0.0.1:80/"),
        ("localhost", "http://localhost:80/"),
        ("::1", "http://[::1]:80/"),
        ("0.0.0.0", "http://127.0.0.1:80/"),
        ("::", "http://[::1]:80/"),
        ("fe80::1", "http://[fe80::1]:80/"),
    ],
)
def test_a_url_can_be_opened_in_a_browser(host: str, url: str) -> None:
    assert url_of(host, 80) == url


def test_services_are_frozen_so_that_no_run_changes_the_next_one() -> None:
    services = (parse_service({"type": "vite"}, PLACE), parse_service(COMMAND, PLACE))
    for service, name in itertools.product(services, ("env", "stop")):
        with pytest.raises(AttributeError):
            setattr(service, name, None)
