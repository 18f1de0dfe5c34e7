"""JSON-RPC 2.0 over lines: bytes in → requests or refusals out; messages in → bytes out. Knows no service."""

from __future__ import annotations

from collections.abc import Iterator

import msgspec
from msgspec import UNSET, Struct

from sidecar.config import invalid_at
from sidecar.errors import (
    InvalidRequestError,
    MethodNotFoundError,
    ParseError,
    SidecarError,
)
from sidecar.wire.framing import Line, LineReader, Overlong
from sidecar.wire.messages import (
    METHODS,
    AnyNotification,
    AnyRequest,
    ErrorEnvelope,
    Failure,
    Id,
    NotificationEnvelope,
    RequestEnvelope,
    Result,
    ResultEnvelope,
    SupervisorFault,
)

_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder().decode

RAW_BYTES_SHOWN = 80
"""So much of a bad line is quoted in its error."""


class Received(Struct, frozen=True):
    """A well-formed request. ``id`` is ``UNSET`` for a notification, which gets no answer."""

    id: Id | msgspec.UnsetType
    request: AnyRequest


class Session:
    """One client's conversation.

    Every line gets exactly one of: nothing (blank), a ``Received``, or the bytes of an error to send.
    """

    def __init__(self) -> None:
        """Start with an empty line buffer and no request in flight."""
        self._reader = LineReader()
        self._open: set[Id] = set()

    def receive(self, data: bytes) -> Iterator[Received | bytes]:
        """Take what was read from the client. Lazy: whether an id is free depends on the requests before it."""
        yield from map(self._line, self._reader.receive(data))

    def finish(self) -> Iterator[Received | bytes]:
        """The client's stream has ended."""
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
            error = InvalidRequestError(
                f"The id {call_id!r} belongs to a request that is not answered yet. Use another id.", path="$.id"
            )
            return refusal(call_id, error)
        try:
            request = _params(envelope)
        except SidecarError as error:
            if call_id is UNSET:  # JSON-RPC forbids an answer; silence would lose the fault
                return notification(SupervisorFault(failure(error)))
            return refusal(call_id, error)
        if call_id is not UNSET and call_id is not None:
            self._open.add(call_id)
        return Received(call_id, request)

    def succeed(self, call_id: Id, result: Result) -> bytes:
        """Bytes of the answer; the id is free again."""
        self._open.discard(call_id)
        return _encode(ResultEnvelope(id=call_id, result=result)) + b"\n"

    def fail(self, call_id: Id, error: Failure) -> bytes:
        """Bytes of the error answer; the id is free again."""
        self._open.discard(call_id)
        return _encode(ErrorEnvelope(id=call_id, error=error)) + b"\n"


def failure(error: SidecarError) -> Failure:
    """Our exception as the JSON-RPC error object; ``data.kind`` is its stable name."""
    return Failure(error.code, error.message, {"kind": error.kind, **error.data})


def refusal(call_id: Id, error: SidecarError) -> bytes:
    """Bytes of an error for a line that never became a request."""
    return _encode(ErrorEnvelope(id=call_id, error=failure(error))) + b"\n"


def notification(message: AnyNotification) -> bytes:
    """Bytes of a notification."""
    return _encode(NotificationEnvelope(method=message.method, params=message)) + b"\n"


def _parse(data: bytes) -> object:
    """The line as plain objects: all of it is checked, also the members that nobody reads."""
    try:
        data.decode("utf-8")
        return _decode(data)
    except UnicodeDecodeError as error:
        message = f"The line is not UTF-8: byte {data[error.start]:#04x} at offset {error.start}. Send UTF-8 JSON."
        raise ParseError(message, offset=error.start) from None
    except RecursionError:
        raise ParseError("The JSON is nested too deeply. Send a flat request.") from None
    except msgspec.DecodeError as error:
        shown = data[:RAW_BYTES_SHOWN].decode("utf-8", "replace")
        raise ParseError(f"The line is not JSON ({error}): {shown!r}. Send one JSON object a line.") from None


def _invalid_request(value: object, error: msgspec.ValidationError) -> InvalidRequestError:
    if isinstance(value, list):
        return InvalidRequestError("Batches are not supported. Send one JSON-RPC 2.0 object a line.", path="$")
    reason, _, tail = str(error).partition(" - at `$")
    place = "$" + tail.rstrip("`")
    return InvalidRequestError(f"{reason} at {place}. Send one JSON-RPC 2.0 object a line.", path=place)


def _salvage_id(value: object) -> Id:
    """The id of a request that is wrong elsewhere, so that the client can match the error to it."""
    call_id = value.get("id") if isinstance(value, dict) else None
    return call_id if isinstance(call_id, int | float | str) and not isinstance(call_id, bool) else None


def _params(envelope: RequestEnvelope) -> AnyRequest:
    shape = METHODS.get(envelope.method)
    if shape is None:
        known = ", ".join(METHODS)
        raise MethodNotFoundError(f"There is no method {envelope.method!r}. The methods are {known}.", path="$.method")
    try:
        return msgspec.convert({} if envelope.params is UNSET else envelope.params, shape)
    except msgspec.ValidationError as error:
        raise invalid_at("$.params", error) from None
