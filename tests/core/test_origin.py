"""checkOrigin, which tells whose server answers at an origin: what is looked up, and the answers."""

from __future__ import annotations

import pytest

from sidecar.core.events import FindOwner, Reply
from sidecar.core.origin import Origin, parse_origin
from sidecar.errors import InvalidParamsError, ShuttingDownError
from sidecar.protocol.messages import CheckOriginResult, OriginOwner
from sidecar.protocol.requests import CheckOrigin, Initialize
from tests.core.scenes import TCP, ready_world, vite_world
from tests.core.world import World

HERE = "http://127.0.0.1:5173"


@pytest.mark.parametrize(
    ("text", "host", "port"),
    [
        (HERE, "127.0.0.1", 5173),
        ("https://127.0.0.1", "127.0.0.1", 443),
        ("http://127.0.0.1", "127.0.0.1", 80),
        ("http://192.168.1.7:80", "192.168.1.7", 80),
        ("http://[::1]:65535", "::1", 65_535),
        ("https://[::1]", "::1", 443),
        ("http://[fe80:0:0:0::1]:1", "fe80::1", 1),
        ("http://[::ffff:7f00:1]:5173", "127.0.0.1", 5173),
        ("http://0.0.0.0:5173", "127.0.0.1", 5173),
        ("http://[::]:5173", "::1", 5173),
        ("http://[::ffff:0:0]:5173", "127.0.0.1", 5173),
        ("http://localhost:5173", "localhost", 5173),
        ("https://localhost", "localhost", 443),
        ("http://app.localhost:5173", "localhost", 5173),
    ],
)
def test_an_origin_has_a_host_and_a_port(text: str, host: str, port: int) -> None:
    assert parse_origin(text) == Origin(host, port)


@pytest.mark.parametrize("host", ["my-mac.local", "example.com", "localhost.example", "5173.example", "localhost."])
def test_any_other_host_is_a_name(host: str) -> None:
    assert parse_origin(f"http://{host}:5173") == Origin(host, 5173, is_name=True)


NO_ORIGINS = [
    "",
    "null",
    "127.0.0.1:5173",
    "//127.0.0.1:5173",
    "http:",
    "HTTP://127.0.0.1:5173",
    "http://LocalHost:5173",
    "http://",
    "http://:5173",
    "http://127.0.0.1:",
    "http://127.0.0.1:0",
    "http://127.0.0.1:05173",
    "http://127.0.0.1:65536",
    "http://127.0.0.1:555555",
    "http://127.0.0.1:\u0665",
    "http://127.0.0.1:5173/",
    "http://127.0.0.1:5173/app",
    "http://127.0.0.1:5173?a",
    "http://127.0.0.1:5173#a",
    "http://ada@127.0.0.1:5173",
    "http://ada:secret@127.0.0.1:5173",
    "http://127.0.0.1:5173@example.com",
    "http://127.0.0.1:5173\n",
    " http://127.0.0.1:5173",
    "http://127.0.0.1\\@example.com",
    "http://127.1:5173",
    "http://2130706433:5173",
    "http://0x7f000001:5173",
    "http://0177.0.0.1:5173",
    "http://127.0.0.1.:5173",
    "http://256.0.0.1:5173",
    "http://::1:5173",
    "http://[::1",
    "http://[127.0.0.1]:5173",
    "http://[::1%25lo]:5173",
    "http://[:::1]:5173",
    "http://exämple.com",
    "ftp://127.0.0.1:5173",
    "tauri://localhost",
    "sidecar://localhost",
    "file:///etc/passwd",
    "data:text/html,a",
]


@pytest.mark.parametrize("text", NO_ORIGINS)
def test_what_a_browser_does_not_write_as_an_origin_is_refused(text: str) -> None:
    with pytest.raises(InvalidParamsError, match=r"at \$\.params\.origin is no web origin") as refused:
        parse_origin(text)
    assert refused.value.data == {"path": "$.params.origin"}


def test_a_long_text_is_not_quoted_whole() -> None:
    with pytest.raises(InvalidParamsError) as refused:
        parse_origin("x" * 1_000_000)
    assert len(refused.value.message) < 400


@pytest.mark.parametrize("owner", ["service", "foreign", "nobody", "unknown"])
def test_the_answer_is_what_a_look_of_now_finds(owner: OriginOwner) -> None:
    world = ready_world()
    call = world.call(CheckOrigin(HERE))
    assert call in world.unanswered
    assert world.looking == [FindOwner(1, "127.0.0.1", 5173)]
    service = "web" if owner == "service" else None
    world.owner(owner, service)
    assert world.result(call) == CheckOriginResult(HERE, owner, service)


def test_each_question_has_a_look_of_its_own_and_its_own_spelling() -> None:
    world = ready_world()
    calls = [world.call(CheckOrigin(text)) for text in (HERE, HERE, "http://[::ffff:7f00:1]:5173")]
    assert [it.number for it in world.looking] == [1, 2, 3]
    last = world.looking.pop()
    world.owner("service", "web")
    world.owner("nobody")
    world.looking.append(last)
    world.owner("foreign")
    assert [world.result(call).owner for call in calls] == ["service", "nobody", "foreign"]
    assert world.result(calls[2]).origin == "http://[::ffff:7f00:1]:5173"


def test_a_name_is_resolved_only_if_a_service_has_it() -> None:
    """A page may not make the sidecar ask a resolver for names."""
    world = World({"web": {**TCP, "port": {"host": "My-Mac.local"}}, "worker": {"type": "command", "command": ["x"]}})
    elsewhere = world.call(CheckOrigin("http://elsewhere.example:5173"))
    assert world.result(elsewhere) == CheckOriginResult("http://elsewhere.example:5173", "foreign")
    assert world.looking == []
    world.call(CheckOrigin("http://my-mac.local:5173"))
    assert world.looking == [FindOwner(1, "my-mac.local", 5173)]
    world.owner("nobody")


def test_what_is_no_origin_is_refused_and_nothing_is_looked_up() -> None:
    world = ready_world()
    error = world.error(world.call(CheckOrigin("tauri://localhost")))
    assert (error.code, error.data) == (-32602, {"kind": "InvalidParams", "path": "$.params.origin"})
    assert world.looking == []


def test_without_an_id_nothing_is_looked_up() -> None:
    world = ready_world()
    world.ask(CheckOrigin(HERE))
    assert world.looking == []


def test_it_is_answered_while_the_services_are_stopping() -> None:
    world = ready_world()
    world.shutdown()
    call = world.call(CheckOrigin(HERE))
    world.owner("service", "web")
    assert world.result(call).owner == "service"
    world.dies()
    assert world.exit_code == 0


def test_a_look_that_the_end_overtakes_is_refused() -> None:
    world = ready_world()
    call = world.call(CheckOrigin(HERE))
    world.shutdown()
    world.dies()
    assert world.error(call).data["kind"] == ShuttingDownError.kind
    assert world.unanswered == []


def test_before_initialize_it_is_refused() -> None:
    world = World(silent=True)
    assert world.error(world.call(CheckOrigin(HERE))).data["kind"] == "NotInitialized"


def test_initialize_names_what_may_be_asked() -> None:
    world = World(silent=True)
    [reply] = world.ask(Initialize(protocol_version=1), 1)
    assert isinstance(reply, Reply)
    assert "checkOrigin" in world.result(1).capabilities.methods


def test_a_stopped_service_is_asked_for_like_any_other() -> None:
    world = vite_world()
    call = world.call(CheckOrigin(HERE))
    world.owner("foreign")
    assert world.result(call).owner == "foreign"
