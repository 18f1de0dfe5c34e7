"""Bytes cut in every way."""

from __future__ import annotations

from hypothesis import strategies as st

PIECES = st.lists(st.integers(0, 2_000), max_size=30)
"""Where they are cut."""


def cut(data: bytes, places: list[int]) -> list[bytes]:
    """The same bytes, as they may be read one after another."""
    at = sorted({place % (len(data) + 1) for place in places})
    return [data[begin:end] for begin, end in zip([0, *at], [*at, len(data)], strict=True)]
