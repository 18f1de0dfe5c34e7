"""``sidecar schema``: print a JSON Schema, made from the structs that the code itself sends and receives.

There are three schemas. The ones of ``plugins.sidecar`` and ``sidecar.json`` are for editors. The one of the protocol
(2020-12) is for programs. It describes a line of either direction, so a validator can check any line. For generators:

- ``$defs`` has every type once. ``ClientMessage`` and ``ServerMessage`` are the two directions, and each kind of line
  has a type (``StartRequest``, ``StartAnswer``, ``ServiceReadyNotification``, ``ErrorAnswer``).
- ``x-protocol`` is a table. ``methods`` has the types of the request's line, its params, its result and the answer's
  line. ``notifications`` has the types of the line and its params. ``errors`` has the name of each code.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Literal

import msgspec
from msgspec import UNSET, Struct, UnsetType, defstruct

from sidecar import errors
from sidecar.config.services import SERVICE_NAME_MOST, Service
from sidecar.errors import ERROR_CODES, SidecarError
from sidecar.protocol.messages import (
    NOTIFICATIONS,
    PROTOCOL_VERSION,
    CheckOriginResult,
    Failure,
    Id,
    InitializeResult,
    LogsResult,
    Notification,
    ServiceResult,
    ShutdownResult,
    State,
    StatusResult,
    TokenResult,
)
from sidecar.protocol.requests import METHODS
from sidecar.tauri.section import Section
from sidecar.tauri.standalone import File

RESULTS: dict[str, type[Struct]] = {
    "initialize": InitializeResult,
    "start": ServiceResult,
    "stop": ServiceResult,
    "restart": ServiceResult,
    "status": StatusResult,
    "logs": LogsResult,
    "checkOrigin": CheckOriginResult,
    "token": TokenResult,
    "shutdown": ShutdownResult,
}
"""Method → the type of its result."""

_REF = "#/$defs/{name}"
_DRAFT_7_REF = "#/definitions/{name}"
_JSONRPC = ("jsonrpc", Literal["2.0"])
_UNIONS = {"Id": Id, "Service": Service, "State": State}
"""Unions, with the names that they have in the code. msgspec does not know these, and repeats the union at each use."""


def protocol_schema() -> str:
    """Return the protocol's document, indented, in an order that changes only with the protocol."""
    requests = {method: _request(method, params) for method, params in METHODS.items()}
    answers = {method: _answer(METHODS[method], method, result) for method, result in RESULTS.items()}
    notices = {kind.method: _notice(kind) for kind in NOTIFICATIONS}
    error = _line("ErrorAnswer", "The line that answers with an error.", ("id", Id), ("error", Failure))
    types = _types([*requests.values(), *answers.values(), *notices.values(), error])
    types["ClientMessage"] = {"description": "A line to the sidecar.", "oneOf": _refs(requests.values())}
    types["ServerMessage"] = {
        "description": "A line from the sidecar.",
        "anyOf": _refs([*answers.values(), error, *notices.values()]),
    }
    document = {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": f"The protocol of tauri-sidecar, version {PROTOCOL_VERSION}",
        "description": "JSON-RPC 2.0 over stdin and stdout: each line is one of these objects.",
        "oneOf": [{"$ref": _ref("ClientMessage")}, {"$ref": _ref("ServerMessage")}],
        "x-protocol": {
            "version": PROTOCOL_VERSION,
            "methods": {
                method: {
                    "request": _ref(requests[method].__name__),
                    "params": _ref(params.__name__),
                    "result": _ref(RESULTS[method].__name__),
                    "answer": _ref(answers[method].__name__),
                }
                for method, params in METHODS.items()
            },
            "notifications": {
                kind.method: {"line": _ref(notices[kind.method].__name__), "params": _ref(kind.__name__)}
                for kind in NOTIFICATIONS
            },
            "errors": {str(code): kind for code, kind in ERROR_CODES.items()},
        },
        "$defs": dict(sorted(types.items())),
    }
    return _text(document)


def config_schema() -> str:
    """Return the document for ``plugins.sidecar`` of a Tauri configuration."""
    return _for_editors(
        Section, "plugins.sidecar of a Tauri configuration", "What tauri-plugin-sidecar starts for the app."
    )


def file_schema() -> str:
    """Return the document for ``sidecar.json``."""
    return _for_editors(File, "sidecar.json", "What 'sidecar dev' starts in this folder.")


def _for_editors(shape: type[Struct], title: str, description: str) -> str:
    """Return the document for ``shape``, which has services, in the draft that editors know."""
    unions, types = msgspec.json.schema_components(
        [Service, shape], schema_hook=lambda _anything: {}, ref_template=_DRAFT_7_REF
    )
    named = {"Service": unions[0]}
    types = {name: _with_names(each, named, _DRAFT_7_REF) for name, each in types.items()} | named
    whole = types.pop(shape.__name__)
    _name_services(whole["properties"]["services"], _DRAFT_7_REF)
    document = {
        "$schema": "http://json-schema.org/draft-07/schema#",
        **whole,
        "title": title,
        "description": description,
        "definitions": dict(sorted(types.items())),
    }
    return _text(document)


def _name_services(services: dict[str, Any], ref: str) -> None:
    """Give the services their type. msgspec sees ``Any``, because we parse each alone for exact places in errors."""
    services["additionalProperties"] = {"$ref": ref.format(name="Service")}
    services["propertyNames"] = {"minLength": 1, "maxLength": SERVICE_NAME_MOST}


def _text(document: dict[str, Any]) -> str:
    return msgspec.json.format(msgspec.json.encode(document), indent=2).decode() + "\n"


# ── lines ─────────────────────────────────────────────────────────────────────────────────────────────────────────────


def _request(method: str, params: type[Struct]) -> type[Struct]:
    optional = not any(field.required for field in msgspec.structs.fields(params))
    carried: tuple[Any, ...] = ("params", params | UnsetType, UNSET) if optional else ("params", params)
    return _line(
        f"{params.__name__}Request",
        f"The line that asks for {method!r}; without an id it gets no answer.",
        ("method", Literal[method]),
        carried,
        ("id", Id | UnsetType, UNSET),
    )


def _answer(params: type[Struct], method: str, result: type[Struct]) -> type[Struct]:
    return _line(f"{params.__name__}Answer", f"The line that answers {method!r}.", ("id", Id), ("result", result))


def _notice(kind: type[Notification]) -> type[Struct]:
    what = f"The line of a {kind.method!r}."
    return _line(f"{kind.__name__}Notification", what, ("method", Literal[kind.method]), ("params", kind))


def _line(name: str, what: str, *fields: Any) -> type[Struct]:
    return defstruct(name, [_JSONRPC, *fields], kw_only=True, namespace={"__doc__": what})


# ── types ─────────────────────────────────────────────────────────────────────────────────────────────────────────────


def _types(lines: list[type[Struct]]) -> dict[str, Any]:
    """Return every type that the lines use, by name. Add what msgspec cannot know."""
    unions, types = msgspec.json.schema_components(
        [*_UNIONS.values(), *lines],
        schema_hook=lambda _anything: {"description": "Any value."},
        ref_template=_REF,
    )
    named = dict(zip(_UNIONS, unions[: len(_UNIONS)], strict=True))
    types = {name: _with_names(each, named, _REF) for name, each in types.items()} | named
    _name_services(types["Initialize"]["properties"]["services"], _REF)
    error = types["Failure"]
    error["properties"]["code"] = {"oneOf": [_code(code, kind) for code, kind in ERROR_CODES.items()]}
    error["properties"]["data"] |= {"properties": {"kind": {"enum": sorted(ERROR_CODES.values())}}}
    return types


def _with_names(node: Any, named: dict[str, Any], ref: str) -> Any:
    """Return ``node`` with a reference in place of each named union that was written out."""
    if isinstance(node, list):
        return [_with_names(each, named, ref) for each in node]
    if not isinstance(node, dict):
        return node
    name = next((name for name, union in named.items() if node == union), None)
    return (
        {"$ref": ref.format(name=name)} if name else {key: _with_names(each, named, ref) for key, each in node.items()}
    )


def _code(code: int, kind: str) -> dict[str, Any]:
    # a base class may share its code with a subclass; the subclass is defined later and says more, so it wins
    errors_of = [each for each in vars(errors).values() if isinstance(each, type) and issubclass(each, SidecarError)]
    return {"const": code, "title": kind, "description": {each.code: each.__doc__ for each in errors_of}[code]}


def _refs(types: Iterable[type[Struct]]) -> list[dict[str, str]]:
    return [{"$ref": _ref(each.__name__)} for each in types]


def _ref(name: str) -> str:
    return _REF.format(name=name)
