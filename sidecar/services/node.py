"""Find the node that runs a project.

A desktop starts apps with a much shorter PATH than a terminal's, and version managers keep node in folders of their
own. The search goes in this order:

1. PATH, of the service or ours;
2. the managers' folders: the version that ``.nvmrc``, ``.node-version`` or ``.tool-versions`` asks for, else a
   manager's default, else its newest;
3. the managers' shims, which look for node themselves;
4. the PATH of the login shell, which takes a moment and is cached for a day;
5. bun, which runs dev servers, too.

The search runs nothing of the project. A relative entry of PATH would mean a folder of the project, so it is skipped.
A command that only looks at a project skips the project's own folders by any name (``sidecar.files.kept_in``).
"""

from __future__ import annotations

import os
from collections.abc import Iterator

from msgspec import Struct

from sidecar.files import is_own
from sidecar.host.programs import BUN_PLACES, MANAGERS, expand, runs, spellings


class Node(Struct, frozen=True):
    """The node to run, or a bun in its place."""

    program: str
    why: str
    """Why this one, for people."""
    on_path: bool = False
    """Whether its folder is on the PATH of the programs that it starts."""
    problem: str = ""
    """Why the project does not get the version that it asks for, for people."""

    @property
    def is_bun(self) -> bool:
        """Whether it is bun."""
        return os.path.splitext(os.path.basename(self.program))[0] == "bun"


class Missing(Struct, frozen=True):
    """There is no node. ``looked`` names the places of the search, for people."""

    looked: str


def find(root: str, path: str) -> Node | Missing:
    """Find the node for the project in ``root``, for a program that gets ``path`` as its PATH."""
    if (program := on_path("node", path)) is not None:
        return Node(program, "on PATH", on_path=True)
    # imported here: most starts need neither
    from sidecar.services import login_shell
    from sidecar.services.managers import find_managed

    if (managed := find_managed(root)) is not None:
        return Node(managed.program, managed.why, problem=managed.problem)
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
    """Find a program in the absolute folders of ``path``. Skip those of a project that a command only looks at."""
    for folder in path.split(os.pathsep):
        if os.path.isabs(folder):
            for name in spellings(program):
                if not is_own(found := os.path.join(folder, name)) and runs(found):
                    return found
    return None
