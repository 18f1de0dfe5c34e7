"""Cut bytes into pieces at arbitrary places."""

from __future__ import annotations

from hypothesis import strategies as st

PIECES = st.lists(st.integers(0, 2_000), max_size=30)
"""A strategy for the places of the cuts."""


def cut(data: bytes, places: list[int]) -> list[bytes]:
    """Cut the bytes at these places, as successive reads may return them."""
    at = sorted({place % (len(data) + 1) for place in places})
    return [data[begin:end] for begin, end in zip([0, *at], [*at, len(data)], strict=True)]
