"""One file of a script: its tokens, and the folders that its expressions evaluate to."""

from __future__ import annotations

import posixpath
from collections.abc import Callable

from sidecar.commands.init import javascript as js
from sidecar.commands.init.javascript import Token, Tokens


class Source(js.Source):
    """The tokens of one file, with its place."""

    def __init__(self, tokens: list[Token], unclear: Callable[[str], None], file: str) -> None:
        """``file``: its path from the folder that the script runs in, with slashes, as in ``./scripts/dev.js``."""
        super().__init__(tokens, unclear)
        self._file = file

    def folder(self, tokens: Tokens) -> str | None:
        """Return a folder relative to the one where the script runs.

        If it is not known, report that and return ``None``.
        """
        found = self._place(tokens, js.VALUES_DEEP)
        if found is None or found.startswith("/") or ":" in found:
            self.unclear("it computes a folder")
            return None
        return posixpath.normpath(found)

    def _place(self, tokens: Tokens, deep: int) -> str | None:
        """Return a path that is built from the script's own place, such as ``__dirname``; ``None`` if not known."""
        tokens = js.bare(tokens)
        said = js.texts(tokens)
        if said == ["process", ".", "cwd", "(", ")"]:
            return "."
        if said in (["__dirname"], ["import", ".", "meta", ".", "dirname"]):
            return posixpath.dirname(self._file)
        if said in (["__filename"], *(["import", ".", "meta", ".", name] for name in ("filename", "url"))):
            return self._file
        if len(tokens) == 1:
            known = self.definition(tokens[0].text) if deep and tokens[0].kind == "word" else None
            return self._place(known, deep - 1) if known else tokens[0].text if tokens[0].kind == "text" else None
        if "(" not in said or js.closing(said, said.index("(")) != len(said) - 1:
            return None
        begin = said.index("(")
        places = [self._place(part, deep) for part in js.split(tokens[begin + 1 : -1], ",") if part]
        known_places = [place for place in places if place is not None]
        if len(known_places) != len(places) or not places:
            return None
        match [word for word in said[:begin] if word not in {".", "path", "url"}]:
            case ["join" | "resolve"]:
                return "/".join(known_places)
            case ["dirname"] if len(places) == 1:
                return posixpath.dirname(posixpath.normpath(known_places[0]))
            case ["fileURLToPath"] if len(places) == 1:
                return known_places[0]
            case ["new", "URL"] if len(places) == 2 and known_places[1] == self._file:  # noqa: PLR2004  a name, a base
                return f"{posixpath.dirname(self._file)}/{known_places[0]}"
            case _:
                return None
