"""This module is a ``sidecar.host.survey.Survey``."""

from __future__ import annotations

import sys

assert sys.platform == "linux"  # for mypy: what follows exists on Linux

from sidecar.host.linux.layers import find_layers
from sidecar.host.linux.orphans import end, find
from sidecar.host.linux.runs import overview
from sidecar.host.linux.sockets import holder_of

__all__ = ["end", "find", "find_layers", "holder_of", "overview"]
