"""The three answers to what a command does, and how to combine the answers for its parts."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from msgspec import Struct, field, structs

from sidecar.commands.init.node_script.reading import Reading


class Start(Struct):
    """How a command starts a dev server. Nothing else that it does would be lost if the service replaced it."""

    type: str = "vite"
    """The ``type`` of its service."""
    root: str = "."
    mode: str | None = None
    config: str | None = None
    port: int | None = None
    args: list[str] = field(default_factory=list)
    env: dict[str, str] = field(default_factory=dict)
    host: bool = False
    """Whether the command names an address to listen on."""
    folder: Path | None = None
    """The folder where the server starts, if that is in another package than the command."""
    script: str | None = None
    """The script of package.json to run, if one command is not enough: with steps, or a root and a config file."""
    steps: list[str] = field(default_factory=list)
    """Commands that run to their end before the server starts."""
    beside: list[str] = field(default_factory=list)
    """Commands that run beside the server and are not servers."""
    port_env: list[str] = field(default_factory=list)
    """Variables that tell the server its port."""
    readings: list[Reading] = field(default_factory=list)
    """The node scripts that start the server so far. The sidecar replaces them."""

    @property
    def elsewhere(self) -> bool:
        """Whether there are a root and a configuration file. Their folders may differ; a service has one for both."""
        return self.root != "." and self.config is not None


class Quiet(Struct, frozen=True):
    """The command surely starts no server."""


class Unclear(Struct, frozen=True):
    """The command may start a server, or starts more than one thing."""

    reason: str


Meaning = Start | Quiet | Unclear


def together(each: Sequence[tuple[str, Meaning]], *, keeps: bool) -> Meaning:
    """Combine commands that run side by side: one may be a dev server, and the others surely are not.

    ``each``: the commands' texts with their answers. ``keeps``: whether the commands beside the server can be kept.
    """
    starts = [meaning for _, meaning in each if isinstance(meaning, Start)]
    for _, meaning in each:
        if isinstance(meaning, Unclear):
            return Unclear(f"{meaning.reason}, beside a dev server") if starts else meaning
    if not starts:
        return Quiet()
    if len(starts) > 1:
        return Unclear("it starts two dev servers")
    beside = [line for line, meaning in each if isinstance(meaning, Quiet)]
    if beside and not keeps:
        return Unclear(f"it starts {' and '.join(map(repr, beside))} beside the dev server")
    return structs.replace(starts[0], beside=[*starts[0].beside, *beside])


def moved(meaning: Meaning, folder: Path, origin: Path) -> Meaning:
    """Set the folder of a start that was found in ``folder``, while its command runs in ``origin``."""
    if isinstance(meaning, Start) and meaning.folder is None and folder != origin:
        return structs.replace(meaning, folder=folder)
    return meaning
