"""The cost of each group of modules that the binary leaves out, in MB and in start time, if it were included."""

from __future__ import annotations

import statistics
import tomllib
from functools import partial

from tests.bench import start
from tests.bench.contenders import REPOSITORY, SIDECAR
from tests.bench.frozen import freeze, size_mb
from tests.bench.processes import Pen
from tests.bench.report import Report, Row

BENCH = "cuts"
LEFT_OUT = REPOSITORY / "build" / "left-out.toml"
SYMBOLS = "symbols"
"""Not a group of modules: the symbols that ``strip`` removes from libraries."""


def run(report: Report, pen: Pen, rounds: int) -> None:
    """Make a binary with each group, and one with all of them, and measure ``rounds`` rounds of their starts."""
    groups = [*tomllib.loads(LEFT_OUT.read_text(encoding="utf-8")), SYMBOLS]
    variants = {SIDECAR: [], **{f"with {group}": [group] for group in groups}, "with all of it": groups}
    binaries = {
        name: freeze(pen.folder / name, *(word for group in keep for word in ("--keep", group)))
        for name, keep in variants.items()
    }
    taken = start.take({name: partial(start.answered, pen, [str(it)]) for name, it in binaries.items()}, rounds)
    size, median = size_mb(binaries[SIDECAR]), statistics.median(taken[SIDECAR])
    for name, binary in binaries.items():
        more = f"{size_mb(binary) - size:+.2f} MB, {statistics.median(taken[name]) - median:+.1f} ms"
        report.rows += [Row(BENCH, start.WHAT, name, "ms", tuple(taken[name]), "" if name == SIDECAR else more)]
