"""Run several works at once: start the longest first, and print each one's output in one piece when it ends."""

from __future__ import annotations

import json
import os
import tempfile
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from pathlib import Path

from build.jobs.steps import Done, Steps
from build.jobs.tools import say, user_cache

LANES = max(2, (os.cpu_count() or 1) + 1)
"""Number of works that run at once: one more than processors, because tests mostly wait."""

DURATIONS = user_cache() / "tauri-sidecar" / "durations.json"
"""File with the last duration of each work on this machine."""


@dataclass(frozen=True)
class Work:
    """A sequence of steps that may run beside other works."""

    name: str
    do: Callable[[Steps], None]
    usual_s: float
    """Its usual duration, if this machine's is unknown. It only decides the order."""


def at_once(steps: Steps, works: Sequence[Work], durations: Path = DURATIONS, lanes: int = LANES) -> None:
    """Run all works, ``lanes`` at a time. Add their results to ``steps`` in the order of ``works``.

    The longest (by the last run on this machine) begin first, so that the last to end is a short one. If a work raises,
    or on Ctrl-C, stop the others and raise its exception.
    """
    known = read_durations(durations)
    order = sorted(works, key=lambda it: known.get(it.name, it.usual_s), reverse=True)
    printing = threading.Lock()
    inners = {it.name: Steps(dict(steps.env)) for it in works}

    def one(work: Work) -> tuple[str, Done, float]:
        with tempfile.TemporaryFile("w+", encoding="utf-8", errors="replace") as log:
            inner = inners[work.name]
            inner.log = log
            began = time.monotonic()
            try:
                work.do(inner)
            finally:
                log.seek(0)
                with printing:
                    for line in log:
                        print(line, end="")
                    say("")
            return work.name, inner.done, time.monotonic() - began

    came: dict[str, Done] = {}
    took: dict[str, float] = {}
    with ThreadPoolExecutor(lanes) as threads:
        say(f"\n{len(works)} works in {lanes} lanes; each prints when it ends: {', '.join(it.name for it in order)}")
        doing = [threads.submit(one, work) for work in order]
        try:
            for each in as_completed(doing):
                name, came[name], took[name] = each.result()
        except BaseException:  # Ctrl-C, or a work that raised
            for each in doing:
                each.cancel()
            for inner in inners.values():
                inner.stop()
            raise
    for work in works:
        steps.done.add(came[work.name])
    write_durations(durations, {**known, **took})


def read_durations(file: Path) -> Mapping[str, float]:
    """Return the seconds of each work by its name; nothing if the file is missing or has another content."""
    try:
        found = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    if not isinstance(found, dict):
        return {}
    return {str(name): seconds for name, seconds in found.items() if isinstance(seconds, float)}


def write_durations(file: Path, durations: Mapping[str, float]) -> None:
    """Keep the durations for the next run. A reader finds the old file or the new one, never a part."""
    file.parent.mkdir(parents=True, exist_ok=True)
    fresh = file.with_name(f"{file.name}.{os.getpid()}")
    fresh.write_text(json.dumps({name: round(it, 1) for name, it in durations.items()}, indent=1), encoding="utf-8")
    fresh.replace(file)
