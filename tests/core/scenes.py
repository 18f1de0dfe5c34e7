"""Worlds in the state in which a test wants to begin, by default with one service, ``web``."""

from __future__ import annotations

from tests.core.world import COMMAND, VITE, World

TCP: dict[str, object] = {**COMMAND, "port": {"preferred": 8_000}, "ready": {"type": "tcp"}}
TAKEN = "Error: Port 5173 is already in use"


def vite_world(**more: object) -> World:
    return World({"web": {**VITE, **more}})


def command_world(**more: object) -> World:
    return World({"web": {**COMMAND, **more}})


def starting_world(**more: object) -> World:
    world = vite_world(**more)
    world.start()
    world.runs()
    return world


def ready_world(**more: object) -> World:
    world = vite_world(**more)
    world.up()
    return world


def signals_of(world: World) -> list[str]:
    return world.processes["web"].signals


def db_and_web(**more: object) -> World:
    world = World({"db": {**COMMAND, **more}, "web": VITE})
    world.up("db", port=None)
    world.up("web")
    return world


def graceful(grace_ms: int) -> dict[str, object]:
    return {"stop": {"appDeathGraceMs": grace_ms}}
