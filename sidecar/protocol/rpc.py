"""JSON-RPC 2.0 over lines: bytes in → requests or refusals out; messages in → bytes out. It knows no service."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgspec
from msgspec import UNSET, Struct

from sidecar.config.strict import convert_at, place_of
from sidecar.errors import (
    InvalidRequestError,
    MethodNotFoundError,
    ParseError,
    SidecarError,
)
from sidecar.protocol.envelopes import ErrorEnvelope, NotificationEnvelope, RequestEnvelope, ResultEnvelope
from sidecar.protocol.framing import Line, LineReader, Overlong
from sidecar.protocol.messages import AnyNotification, Failure, Id, Result, Server, SupervisorFault
from sidecar.protocol.requests import METHODS, AnyRequest

_encoder = msgspec.json.Encoder()
_decode = msgspec.json.Decoder().decode

SHOWN = 80
"""Bound on the part of a bad line, method or id that its error quotes."""


class Received(Struct, frozen=True):
    """A well-formed request. ``id`` is ``UNSET`` for a notification, which gets no answer."""

    id: Id | msgspec.UnsetType
    request: AnyRequest


class Connection:
    """The conversation with one client.

    Each line becomes a ``Received`` or the bytes of an error to send. A blank line becomes nothing.
    """

    def __init__(self, server: Server | None = None) -> None:
        """Start with an empty line buffer and no request in flight.

        An error for ``initialize`` names ``server``, because the client may be newer than we are.
        """
        self._server = server
        self._reader = LineReader()
        self._open: set[Id] = set()

    def receive(self, data: bytes) -> Iterator[Received | bytes]:
        """Take bytes from the client. This is lazy: whether an id is free depends on the requests before it."""
        yield from map(self._line, self._reader.receive(data))

    def finish(self) -> Iterator[Received | bytes]:
        """Take the end of the client's stream."""
        yield from map(self._line, self._reader.finish())

    def _line(self, line: Line | Overlong) -> Received | bytes:
        if isinstance(line, Overlong):
            return refusal(
                None,
                ParseError(
                    f"The line is {line.size} bytes long; the bound is 1 MiB. It was skipped; send smaller requests.",
                    size=line.size,
                ),
            )
        try:
            value = _parse(line.data)
        except ParseError as error:
            return refusal(None, error)
        try:
            envelope = msgspec.convert(value, RequestEnvelope)
        except msgspec.ValidationError as error:
            return refusal(_salvage_id(value), _invalid_request(value, error))
        return self._request(envelope)

    def _request(self, envelope: RequestEnvelope) -> Received | bytes:
        call_id = envelope.id
        if call_id is not UNSET and call_id is not None and call_id in self._open:
            shown = repr(call_id)[:SHOWN]
            error = InvalidRequestError(
                f"The id {shown} belongs to a request that is not answered yet. Use another id.", path="$.id"
            )
            return refusal(call_id, error)
        try:
            request = _params(envelope)
        except SidecarError as error:
            if envelope.method == "initialize" and self._server is not None:
                error.data["server"] = self._server
            if call_id is UNSET:  # JSON-RPC forbids an answer, but the error must not be lost
                return notification(SupervisorFault(failure(error)))
            return refusal(call_id, error)
        if call_id is not UNSET and call_id is not None:
            self._open.add(call_id)
        return Received(call_id, request)

    def succeed(self, call_id: Id, result: Result) -> bytes:
        """Return the bytes of the answer, and free the id."""
        self._open.discard(call_id)
        return json_line(ResultEnvelope(id=call_id, result=result))

    def fail(self, call_id: Id, error: Failure) -> bytes:
        """Return the bytes of the error answer, and free the id."""
        self._open.discard(call_id)
        return json_line(ErrorEnvelope(id=call_id, error=error))


def failure(error: SidecarError) -> Failure:
    """Turn our exception into the JSON-RPC error object. ``data.kind`` is its stable name."""
    return Failure(error.code, error.message, {"kind": error.kind, **error.data})


def refusal(call_id: Id, error: SidecarError) -> bytes:
    """Return the bytes of an error for a line that is not a valid request."""
    return json_line(ErrorEnvelope(id=call_id, error=failure(error)))


def notification(message: AnyNotification) -> bytes:
    """Return the bytes of a notification."""
    return json_line(NotificationEnvelope(method=message.method, params=message))


def json_line(what: object) -> bytes:
    """Return a line of JSON, with its line feed."""
    try:
        return _encoder.encode_lines((what,))  # adding the line feed later would copy the line
    except UnicodeEncodeError:  # a path or another program's command line may not be UTF-8
        return _encoder.encode_lines((_encodable(msgspec.to_builtins(what)),))


def _encodable(value: Any) -> Any:
    """Replace each byte that Python could not decode (a surrogate) by U+FFFD."""
    match value:
        case str():
            return value.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
        case dict():
            return {_encodable(key): _encodable(each) for key, each in value.items()}
        case list() | tuple():
            return [_encodable(each) for each in value]
        case _:
            return value


def _parse(data: bytes) -> object:
    """Parse the line to plain objects. This checks all of it, also members that no code reads."""
    try:
        data.decode("utf-8")
        return _decode(data)
    except UnicodeDecodeError as error:
        message = f"The line is not UTF-8: byte {data[error.start]:#04x} at offset {error.start}. Send UTF-8 JSON."
        raise ParseError(message, offset=error.start) from None
    except RecursionError:
        raise ParseError("The JSON is nested too deeply. Send a flat request.") from None
    except msgspec.DecodeError as error:
        shown = data[:SHOWN].decode("utf-8", "replace")
        raise ParseError(f"The line is not JSON ({error}): {shown!r}. Send one JSON object a line.") from None


def _invalid_request(value: object, error: msgspec.ValidationError) -> InvalidRequestError:
    if isinstance(value, list):
        return InvalidRequestError("Batches are not supported. Send one JSON-RPC 2.0 object a line.", path="$")
    reason, place = place_of(error)
    return InvalidRequestError(f"{reason} at ${place}. Send one JSON-RPC 2.0 object a line.", path=f"${place}")


def _salvage_id(value: object) -> Id:
    """Return the id of a request with another fault, so that the client can match the error to it."""
    call_id = value.get("id") if isinstance(value, dict) else None
    return call_id if isinstance(call_id, int | float | str) and not isinstance(call_id, bool) else None


def _params(envelope: RequestEnvelope) -> AnyRequest:
    shape = METHODS.get(envelope.method)
    if shape is None:
        known = ", ".join(METHODS)
        shown = envelope.method[:SHOWN]
        raise MethodNotFoundError(f"There is no method {shown!r}. The methods are {known}.", path="$.method")
    request: AnyRequest = convert_at({} if envelope.params is UNSET else envelope.params, shape, "$.params")
    return request
