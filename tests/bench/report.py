"""Numbers, what they are held against, and how both are shown: one table, and the same as JSON."""

from __future__ import annotations

import datetime as dt
import json
import os
import platform
import statistics
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Literal

import psutil
from rich.console import Console
from rich.table import Table
from rich.text import Text

Goal = Literal["bar", "better"]
Verdict = Literal["pass", "miss", "not taken"]


@dataclass(frozen=True)
class Row:
    """One quantity of one contender, in ``unit``, once a round."""

    bench: str
    what: str
    contender: str
    unit: str
    values: tuple[float, ...]
    note: str = ""

    @property
    def median(self) -> float | None:
        """The middle of the rounds, or None when there was none."""
        return statistics.median(self.values) if self.values else None


@dataclass(frozen=True)
class Check:
    """One of the design's numbers: ``value`` in ``unit`` held against ``limit``, from above or from below.

    ``bar`` must hold; ``better`` is what we would like. A value of None was not to be had, as ``note`` tells.
    """

    bench: str
    what: str
    unit: str
    value: float | None
    limit: float
    goal: Goal = "bar"
    at_least: bool = False
    note: str = ""

    @property
    def verdict(self) -> Verdict:
        """How it went."""
        if self.value is None:
            return "not taken"
        return "pass" if (self.value >= self.limit if self.at_least else self.value <= self.limit) else "miss"

    @property
    def target(self) -> str:
        """The limit as the design writes it."""
        sign = "≥" if self.at_least else "≤"
        return f"{sign} {_number(self.limit)} {self.unit}".rstrip()


@dataclass
class Report:
    """All that a run found."""

    rows: list[Row] = field(default_factory=list)
    checks: list[Check] = field(default_factory=list)
    skipped: dict[str, str] = field(default_factory=dict)
    """What was left out, and why."""
    machine: dict[str, object] = field(default_factory=dict)

    def row(self, bench: str, what: str, contender: str) -> Row | None:
        """The row of one quantity of one contender, where it was taken."""
        found = (row for row in self.rows if (row.bench, row.what, row.contender) == (bench, what, contender))
        return next(found, None)

    def missed(self) -> list[Check]:
        """The bars that do not hold."""
        return [check for check in self.checks if check.goal == "bar" and check.verdict == "miss"]

    def as_json(self) -> str:
        """Everything, with the medians and the verdicts."""
        return json.dumps(
            {
                "machine": self.machine,
                "rows": [{**asdict(row), "median": row.median} for row in self.rows],
                "checks": [{**asdict(check), "verdict": check.verdict} for check in self.checks],
                "skipped": self.skipped,
            },
            indent=1,
            ensure_ascii=False,
        )


def ratios(ours: Sequence[float], theirs: Sequence[float]) -> tuple[float, ...]:
    """Ours by theirs, round by round: the two of a round met the same machine, so drift cancels."""
    return tuple(mine / peer for mine, peer in zip(ours, theirs, strict=True) if peer)


def load() -> list[float]:
    """The load averages over 1, 5 and 15 minutes."""
    return [round(average, 2) for average in psutil.getloadavg()]


def machine(versions: Mapping[str, Sequence[str]]) -> dict[str, object]:
    """What this was measured on; ``versions`` are commands whose first line tells a version."""
    return {
        "when": dt.datetime.now(dt.UTC).isoformat(timespec="seconds"),
        "system": platform.platform(),
        "cpus": os.cpu_count(),
        "load": load(),
        "python": platform.python_version(),
        **{name: _first_line(argv) for name, argv in versions.items()},
    }


def _first_line(argv: Sequence[str]) -> str:
    try:
        done = subprocess.run(argv, capture_output=True, text=True, timeout=20, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        return f"unknown ({error})"
    return next(iter((done.stdout + done.stderr).splitlines()), "unknown")


def _number(value: float | None) -> str:
    if value is None:
        return "–"
    if value == int(value):
        return str(int(value))
    return f"{value:.0f}" if abs(value) >= 1000 else f"{value:.3g}"


_STYLES: dict[Verdict, str] = {"pass": "bold green", "miss": "bold red", "not taken": "dim"}


def show(report: Report, console: Console) -> None:
    """Print what was measured, then how it stands against the design."""
    told = ", ".join(f"{name} {value}" for name, value in report.machine.items())
    console.print(Text(told, style="dim"))
    numbers = Table(title="Measured", title_justify="left")
    numbers.add_column("bench")
    numbers.add_column("what")
    numbers.add_column("contender")
    for name in ("median", "min", "max", "rounds"):
        numbers.add_column(name, justify="right", no_wrap=True)
    numbers.add_column("unit")
    numbers.add_column("note")
    before: tuple[str, str] | None = None
    for row in report.rows:
        same = before == (row.bench, row.what)
        if before is not None and not same:
            numbers.add_section()
        before = (row.bench, row.what)
        numbers.add_row(
            "" if same else row.bench,
            "" if same else row.what,
            Text(row.contender, style="bold" if row.contender == "sidecar" else ""),
            _number(row.median),
            _number(min(row.values, default=None)),
            _number(max(row.values, default=None)),
            str(len(row.values)),
            row.unit,
            row.note,
        )
    console.print(numbers)
    verdicts = Table(title="Against the design's numbers", title_justify="left")
    for name in ("bench", "what"):
        verdicts.add_column(name)
    verdicts.add_column("value", justify="right", no_wrap=True)
    verdicts.add_column("wanted", no_wrap=True)
    verdicts.add_column("goal")
    verdicts.add_column("verdict", no_wrap=True)
    verdicts.add_column("note")
    for check in report.checks:
        value = f"{_number(check.value)} {check.unit}".rstrip()
        verdict = Text(check.verdict, style=_STYLES[check.verdict])
        verdicts.add_row(check.bench, check.what, value, check.target, check.goal, verdict, check.note)
    console.print(verdicts)
    for name, reason in report.skipped.items():
        console.print(Text(f"skipped: {name}: {reason}", style="yellow"))


def keep(report: Report, path: Path) -> None:
    """Write the report as JSON."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(report.as_json() + "\n", encoding="utf-8")
