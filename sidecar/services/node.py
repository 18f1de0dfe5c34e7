"""Which node runs a project.

An app that a desktop starts has a much shorter PATH than a terminal, and version managers put node into folders of
their own, often only while a shell runs. The order of the search:

1. PATH (of the service, or ours);
2. the managers' folders: the version that ``.nvmrc``, ``.node-version`` or ``.tool-versions`` asks for, else the
   version that a manager uses by default, else its newest;
3. the managers' shims, which are programs that look for node themselves;
4. the PATH of the login shell, which takes a moment and is kept for a day;
5. bun, which can run a dev server, too.

The search runs nothing of the project. A relative entry of PATH would be a folder of the project: it is passed over.
"""

from __future__ import annotations

import os
from collections.abc import Iterator

from msgspec import Struct

from sidecar.host.programs import BUN_PLACES, MANAGERS, expand, runs, spellings


class Node(Struct, frozen=True):
    """A node that was found, or a bun."""

    program: str
    why: str
    """Why it is this one, for people."""
    on_path: bool = False
    """Whether the programs that it starts find it by its name without our help."""
    problem: str = ""
    """What the project asks for and is not here, for people."""

    @property
    def is_bun(self) -> bool:
        """Whether it is no node, but runs what node runs."""
        return os.path.splitext(os.path.basename(self.program))[0] == "bun"


class Missing(Struct, frozen=True):
    """There is none. ``looked`` names the places, for people."""

    looked: str


def find(root: str, path: str) -> Node | Missing:
    """The node for the project in ``root``; ``path`` is the PATH of what is started there."""
    if (program := on_path("node", path)) is not None:
        return Node(program, "on PATH", on_path=True)
    # off the way of a start that needs neither
    from sidecar.host import login_shell
    from sidecar.services.managers import find_managed

    if (managed := find_managed(root)) is not None:
        return managed
    shell = login_shell.search_path()
    if (program := on_path("node", shell.path)) is not None:
        return Node(program, "on the login shell's PATH, not on ours")
    if (program := on_path("bun", path)) is not None:
        return Node(program, "bun runs it, as there is no node", on_path=True)
    if (program := on_path("bun", os.pathsep.join([*expand(BUN_PLACES), shell.path]))) is not None:
        return Node(program, "bun runs it, as there is no node; not on PATH")
    return Missing(", ".join(["not on PATH", _managers(), *_of_shell(shell.path, shell.problem), "and no bun either"]))


def _managers() -> str:
    *names, last = dict.fromkeys(it.name for it in MANAGERS)
    return f"not where {', '.join(names)} or {last} puts it"


def _of_shell(path: str, problem: str) -> Iterator[str]:
    if path:
        yield "not on the login shell's PATH"
    elif problem:
        yield problem


def on_path(program: str, path: str) -> str | None:
    """The program in one of the absolute folders of ``path``."""
    for folder in path.split(os.pathsep):
        if os.path.isabs(folder):
            for name in spellings(program):
                if runs(found := os.path.join(folder, name)):
                    return found
    return None
