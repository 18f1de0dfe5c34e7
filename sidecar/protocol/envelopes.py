"""The JSON objects of JSON-RPC 2.0 that carry the messages."""

from __future__ import annotations

from typing import Literal

from msgspec import UNSET, Struct, UnsetType

from sidecar.protocol.messages import AnyNotification, Failure, Id, Result


class RequestEnvelope(Struct, frozen=True):
    """JSON-RPC 2.0's request object, with unchecked params."""

    jsonrpc: Literal["2.0"]
    method: str
    params: object = UNSET
    id: Id | UnsetType = UNSET


class ResultEnvelope(Struct, frozen=True, kw_only=True):
    """A success."""

    jsonrpc: str = "2.0"
    id: Id
    result: Result


class ErrorEnvelope(Struct, frozen=True, kw_only=True):
    """A failure. ``id`` is null if the request's id could not be read."""

    jsonrpc: str = "2.0"
    id: Id
    error: Failure


class NotificationEnvelope(Struct, frozen=True, kw_only=True):
    """A notification."""

    jsonrpc: str = "2.0"
    method: str
    params: AnyNotification
