"""For all tests: properties are tried on the same examples everywhere, so that a red run is red again."""

from __future__ import annotations

from hypothesis import settings

settings.register_profile("everywhere", derandomize=True, deadline=None, database=None)
settings.load_profile("everywhere")
