"""A short soak; a long one is ``python3 build/dev.py soak --cycles 1000``."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

if sys.platform != "linux":
    pytest.skip("pidfds, control groups and /proc", allow_module_level=True)

from tests.faults.soak import Soak

SEED = 5
CYCLES = 10


def test_whatever_befalls_three_apps_nothing_is_left_and_nothing_grows(tmp_path: Path) -> None:
    with Soak(tmp_path, SEED, CYCLES) as soak:
        for number in range(CYCLES):
            soak.cycle(number)
