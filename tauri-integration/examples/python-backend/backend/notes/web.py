"""What the page can ask for. Everything but the health check needs the token that only this app's page can have."""

from __future__ import annotations

import asyncio
import os
import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing
from typing import Annotated

from fastapi import Depends, FastAPI, HTTPException, WebSocket, status
from fastapi.middleware.cors import CORSMiddleware
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer
from pydantic import BaseModel, Field
from starlette.requests import HTTPConnection

from notes.database import Notes

TOKEN = os.environ["API_TOKEN"]
"""The sidecar makes a new one at each run of the app, and fills it in for {token}."""

SUBPROTOCOL = "notes"
"""Of the stream. A browser sends no header with a WebSocket but this list, so the token stands in it, too."""

TICK_S = 0.5


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[None]:
    """Keep the database open for as long as the backend serves."""
    with closing(Notes()) as app.state.notes:
        yield


def kept(connection: HTTPConnection) -> Notes:
    """Return the open database, for a request or a stream."""
    notes: Notes = connection.app.state.notes
    return notes


Kept = Annotated[Notes, Depends(kept)]

app = FastAPI(lifespan=lifespan)
app.add_middleware(
    CORSMiddleware,
    allow_origin_regex=os.environ["ALLOWED_ORIGINS"],
    allow_headers=["authorization", "content-type"],
)


class Note(BaseModel):
    """A note that the page sends."""

    text: str = Field(min_length=1, max_length=1000)


def is_token(text: str) -> bool:
    """Tell whether the text is our token, in a time that says nothing about it."""
    return secrets.compare_digest(text.encode(), TOKEN.encode())


def authorized(sent: Annotated[HTTPAuthorizationCredentials | None, Depends(HTTPBearer(auto_error=False))]) -> None:
    """Refuse a request that does not carry the token, whoever sends it: every program here can reach this port."""
    if sent is None or not is_token(sent.credentials):
        headers = {"WWW-Authenticate": "Bearer"}
        raise HTTPException(status.HTTP_401_UNAUTHORIZED, "the token is missing or wrong", headers)


@app.get("/health")
def health() -> dict[str, str]:
    """Answer the sidecar's question whether this works."""
    return {"status": "ok"}


@app.get("/notes", dependencies=[Depends(authorized)])
def last(notes: Kept) -> list[str]:
    """Return the last notes, the newest first."""
    return notes.last(20)


@app.post("/notes", dependencies=[Depends(authorized)], status_code=status.HTTP_201_CREATED)
def add(note: Note, notes: Kept) -> int:
    """Write a note down, and return its number."""
    return notes.add(note.text)


@app.websocket("/stream")
async def stream(socket: WebSocket, notes: Kept) -> None:
    """Tell how many notes there are, again and again, until the page goes."""
    if not any(is_token(word.removeprefix("token.")) for word in socket.scope["subprotocols"]):
        await socket.close()  # Before it was accepted: the handshake gets the status 403.
        return
    await socket.accept(SUBPROTOCOL)
    async with asyncio.TaskGroup() as group:
        ticking = group.create_task(tick(socket, notes))
        await until_gone(socket)
        ticking.cancel()


async def tick(socket: WebSocket, notes: Notes) -> None:
    """Send the number of notes."""
    count = 0
    while True:
        count += 1
        await socket.send_json({"count": count, "notes": await asyncio.to_thread(notes.total)})
        await asyncio.sleep(TICK_S)


async def until_gone(socket: WebSocket) -> None:
    """Wait for the other end to leave."""
    while (await socket.receive())["type"] != "websocket.disconnect":
        pass
