"""``python -m tests.bench [--only NAME] [--rounds N] [--json PATH]``: measure, print a table, keep the numbers."""

from __future__ import annotations

import argparse
import datetime as dt
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import platformdirs
from rich.console import Console

from tests.bench import cuts, death, frozen, idle, launch, relay, several, start, supervisors
from tests.bench.contenders import EXAMPLE, PEERS, PM2, Tools, find_tools, script, version_argv
from tests.bench.processes import ONLY_LINUX, BenchError, Pen, new_mark
from tests.bench.report import Report, keep, load, machine, show

ROUNDS = {
    "start": 15,
    "frozen": 15,
    "launch": 9,
    "several": 5,
    "death": 5,
    "supervisors": 5,
    "logs": 5,
    "idle": 1,
    "window": 5,
    "front": 5,
    "cuts": 15,
}
"""The benches in their order, with their default number of rounds: some six minutes in all."""
ON_DEMAND = {"cuts"}
"""Benches that run only on request. They build a dozen binaries, which takes longer than all other benches."""
NARROW = 120
"""Width of a table in a file or a pipe."""


def arguments(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description=__doc__)
    parser.add_argument(
        "--only",
        action="append",
        choices=list(ROUNDS),
        metavar="NAME",
        help=f"one of {', '.join(ROUNDS)}; repeatable; default: all but {', '.join(ON_DEMAND)}",
    )
    parser.add_argument("--rounds", type=int, metavar="N", help=f"rounds of each bench (default: {ROUNDS})")
    parser.add_argument("--json", type=Path, metavar="PATH", help="where the numbers go (default: the user's cache)")
    parser.add_argument("--project", type=Path, default=EXAMPLE, metavar="DIR", help="the Vite project to launch")
    parser.add_argument("--strict", action="store_true", help="exit 1 when a bar is missed")
    return parser.parse_args(argv)


def default_json() -> Path:
    """Return a new file for this run, in the user's cache folder."""
    name = f"{dt.datetime.now(dt.UTC):%Y-%m-%dT%H-%M-%SZ}.json"
    return platformdirs.user_cache_path("tauri-sidecar") / "bench" / name


@contextmanager
def pen() -> Iterator[Pen]:
    """Yield a pen for processes. All of them are killed at the end, even if we are killed."""
    mark = new_mark()
    with tempfile.TemporaryDirectory(prefix="sidecar-bench-", ignore_cleanup_errors=True) as folder:
        janitor = subprocess.Popen(
            script("janitor.py", mark, folder), stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, start_new_session=True
        )
        place = Pen(mark, Path(folder), dict(os.environ))
        try:
            yield place
        finally:
            place.empty()
            assert janitor.stdin is not None
            janitor.stdin.close()
            janitor.wait()


def measure(report: Report, place: Pen, tools: Tools, options: argparse.Namespace, console: Console) -> None:
    """Run the requested benches. If one cannot run, name it and go on."""
    assert sys.platform == "linux", ONLY_LINUX
    from tests.bench import front, window

    project: Path = options.project.resolve()
    benches: dict[str, Callable[[int], None]] = {
        "start": lambda rounds: start.run(report, place, rounds),
        "frozen": lambda rounds: frozen.run(report, place, project, rounds),
        "launch": lambda rounds: launch.run(report, place, tools, project, rounds),
        "several": lambda rounds: several.run(report, place, rounds),
        "death": lambda rounds: death.run(report, place, tools, rounds),
        "supervisors": lambda rounds: supervisors.run(report, place, tools, rounds),
        "logs": lambda rounds: relay.run(report, place, tools, rounds),
        "idle": lambda rounds: idle.run(report, place, project, rounds),
        "cuts": lambda rounds: cuts.run(report, place, rounds),
        "window": lambda rounds: window.run(report, place, rounds),
        "front": lambda rounds: front.run(report, place, rounds),
    }
    for name, bench in benches.items():
        if name not in (options.only or ROUNDS.keys() - ON_DEMAND) or name in report.skipped:
            continue
        rounds = options.rounds or ROUNDS[name]
        console.print(f"{name}: rounds: {rounds} …", style="dim", highlight=False)
        began = time.perf_counter()
        try:
            bench(rounds)
        except BenchError as error:
            report.skipped[name] = str(error)
        console.print(f"{name}: took {time.perf_counter() - began:.0f} s", style="dim", highlight=False)


def _ended(number: int, frame: object) -> None:
    """Let SIGTERM and SIGHUP raise SystemExit, so that everything is cleaned up."""
    sys.exit(128 + number)


def main() -> int:
    """Measure and report; return 1 if a bench could not run, or with --strict if a bar is missed."""
    if sys.platform != "linux":
        print(ONLY_LINUX, file=sys.stderr)
        return 2
    from tests.bench import front, window

    signal.signal(signal.SIGTERM, _ended)
    signal.signal(signal.SIGHUP, _ended)
    options = arguments()
    terminal = Console(stderr=True)
    try:
        tools = find_tools()
    except BenchError as error:
        terminal.print(str(error), style="red", highlight=False)
        return 2
    programs = {"node": tools.node, **tools.programs}
    versions = {name.split(" ")[0]: version_argv(name, program) for name, program in programs.items()}
    if PM2 in tools.programs:
        manifest = json.dumps(str(PEERS / "node_modules" / "pm2" / "package.json"))
        versions[PM2] = [tools.node, "-p", f"require({manifest}).version"]
    report = Report(machine(versions), skipped=dict(tools.skipped))
    if (reason := window.missing()) is not None:
        report.skipped |= {window.BENCH: reason, front.BENCH: reason}
    missing = len(report.skipped)
    try:
        with pen() as place:
            measure(report, place, tools, options, terminal)
    except KeyboardInterrupt:
        terminal.print("interrupted: all processes were ended, no numbers are kept", style="yellow")
        return 130
    report.machine["load after"] = load()
    show(report, Console() if sys.stdout.isatty() else Console(width=NARROW))
    path = options.json or default_json()
    keep(report, path)
    print(f"kept in {path}")
    failed = len(report.skipped) > missing
    return 1 if failed or (options.strict and report.missed_a_bar()) else 0


if __name__ == "__main__":
    sys.exit(main())
