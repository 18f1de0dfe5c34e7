"""Remove tokens from the output of programs, so that a token appears only in the answer to the request ``token``."""

from __future__ import annotations

from collections.abc import Iterable

from msgspec.structs import replace

from sidecar.core.events import Output

REDACTED = "[token]"

LEAST_PART = 8
"""The length from which a part of a token is no coincidence."""

CUT_FROM = 4_000
"""The length from which a line may have been cut in the middle of a token."""


class Redactor:
    """Knows all tokens of the sidecar, because any service may print any of them."""

    def __init__(self, tokens: Iterable[str]) -> None:
        """With no tokens there is nothing to do."""
        self._tokens = tuple(tokens)

    def output(self, output: Output) -> Output:
        """Return the output without the tokens."""
        if not self._tokens:
            return output
        lines = tuple(self._line(line, cut=len(line) >= CUT_FROM) for line in output.lines)
        return replace(output, lines=lines, partial=self._line(output.partial, cut=True))

    def _line(self, text: str, *, cut: bool) -> str:
        for token in self._tokens:
            text = text.replace(token, REDACTED)
            if cut:
                text = _without_parts(text, token)
        return text


def _without_parts(text: str, token: str) -> str:
    """Remove a first part of the token from the text's end, and a last part of it from the text's beginning."""
    lengths = range(len(token) - 1, LEAST_PART - 1, -1)
    begin = next((length for length in lengths if text.endswith(token[:length])), 0)
    if begin:
        text = f"{text[:-begin]}{REDACTED}"
    end = next((length for length in lengths if text.startswith(token[-length:])), 0)
    return f"{REDACTED}{text[end:]}" if end else text
