"""Results and their goals, shown as a table for each bench and as JSON."""

from __future__ import annotations

import datetime as dt
import json
import os
import platform
import statistics
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from itertools import groupby
from pathlib import Path

import psutil
from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text


@dataclass(frozen=True)
class Goal:
    """One of the design's numbers: a bar, which must hold, or a wish (``better``)."""

    limit: float
    better: bool = False
    at_least: bool = False

    def met(self, value: float) -> bool:
        """Return whether ``value`` meets the goal."""
        return value >= self.limit if self.at_least else value <= self.limit

    def __str__(self) -> str:
        return f"{'better' if self.better else 'bar'} {'≥' if self.at_least else '≤'} {_number(self.limit)}"


@dataclass(frozen=True)
class Row:
    """One quantity of one contender in ``unit``, one value a round."""

    bench: str
    what: str
    contender: str
    unit: str
    values: tuple[float, ...]
    note: str = ""
    goals: tuple[Goal, ...] = ()
    worst: bool = False
    """Whether the goals must hold in every round, as for survivors. Otherwise they apply to the median."""

    @property
    def median(self) -> float | None:
        """The median of the rounds, or None without rounds."""
        return statistics.median(self.values) if self.values else None

    def verdicts(self) -> list[tuple[Goal, str]]:
        """Return each goal with its verdict: met, missed, or not measured."""
        value = max(self.values, default=None) if self.worst else self.median
        if value is None:
            return [(goal, "not taken") for goal in self.goals]
        return [(goal, "met" if goal.met(value) else "missed") for goal in self.goals]


@dataclass
class Report:
    """All results of a run."""

    machine: dict[str, object]
    rows: list[Row] = field(default_factory=list)
    skipped: dict[str, str] = field(default_factory=dict)
    """What was not measured, and why."""

    def missed_a_bar(self) -> bool:
        """Whether a bar was missed."""
        return any((goal.better, how) == (False, "missed") for row in self.rows for goal, how in row.verdicts())

    def as_json(self) -> str:
        """Everything, with the medians and the verdicts."""
        rows = [
            {**asdict(row), "median": row.median, "verdicts": [f"{goal}: {how}" for goal, how in row.verdicts()]}
            for row in self.rows
        ]
        report = {"machine": self.machine, "rows": rows, "skipped": self.skipped}
        return json.dumps(report, indent=1, ensure_ascii=False)


def ratios(ours: Sequence[float], theirs: Sequence[float]) -> tuple[float, ...]:
    """Return our value divided by theirs for each round. Both met the same machine load, so drift cancels out."""
    return tuple(mine / peer for mine, peer in zip(ours, theirs, strict=True) if peer)


def load() -> list[float]:
    """The load averages over 1, 5 and 15 minutes."""
    return [round(average, 2) for average in psutil.getloadavg()]


def machine(versions: Mapping[str, Sequence[str]]) -> dict[str, object]:
    """Describe this machine. ``versions`` are commands whose first output line is a version."""
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


def _number(value: float) -> str:
    if value == int(value) or abs(value) >= 1000:
        return f"{value:.0f}"
    return f"{value:.3g}"


def show(report: Report, console: Console) -> None:
    """Print a table for each bench, then what was not measured."""
    console.print(Text(", ".join(f"{name} {value}" for name, value in report.machine.items()), style="dim"))
    for bench, rows in groupby(report.rows, key=lambda row: row.bench):
        console.print(_table(bench, list(rows)))
    for name, reason in report.skipped.items():
        console.print(Text(f"skipped: {name}: {reason}", style="yellow"))


def _table(bench: str, rows: Sequence[Row]) -> Table:
    table = Table(title=bench, title_justify="left", title_style="bold", box=box.SIMPLE_HEAD, pad_edge=False)
    for name in ("what", "contender"):
        table.add_column(name, no_wrap=True)
    for name in ("median", "min – max", "n"):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("against the design; notes")
    before = ""
    for row in rows:
        remarks = [
            Text(f"{goal}: {how}", {"met": "green", "missed": "yellow" if goal.better else "bold red"}.get(how, "dim"))
            for goal, how in row.verdicts()
        ]
        remarks += [Text(row.note)] if row.note else []
        table.add_row(
            "" if row.what == before else row.what,
            Text(row.contender, style="bold" if row.contender == "sidecar" else ""),
            "–" if row.median is None else f"{_number(row.median)} {row.unit}",
            f"{_number(min(row.values))} – {_number(max(row.values))}" if row.values else "–",
            str(len(row.values)),
            Text("; ").join(remarks),
        )
        before = row.what
    return table


def keep(report: Report, path: Path) -> None:
    """Write the report as JSON."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(report.as_json() + "\n", encoding="utf-8")
