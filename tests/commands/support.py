"""Run a command of the sidecar to its end, with the test's own control group and state folder."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

if sys.platform != "linux":
    raise ImportError("control groups are Linux's")

from tests.faults.cell import ROOT
from tests.support.command import SIDECAR

WAIT_S = 280
"""Timeout of a command: more than a proof, which starts nine sidecars, takes on a busy machine."""


def enter(group: str | None) -> Callable[[], None]:
    """Return a function for a child to call before exec. It joins the group, so the child sweeps only the test's own.

    It also restores SIGINT, which a shell makes programs in the background ignore.
    """

    def before_exec() -> None:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        if group is not None:
            with open(f"{group}/cgroup.procs", "w", encoding="ascii") as file:
                file.write("0")

    return before_exec


def run(
    folder: Path,
    *words: str,
    group: str | None = None,
    stdin: Any = subprocess.DEVNULL,
    prefix: Sequence[str] = (),
    sidecar: Sequence[str] = SIDECAR,
    **env: str,
) -> subprocess.CompletedProcess[str]:
    """Run ``sidecar WORDS``; ``folder`` has its state, ``prefix`` precedes its command line."""
    return subprocess.run(
        [*prefix, *sidecar, *words],
        cwd=ROOT,
        env={**os.environ, "SIDECAR_STATE_DIR": str(folder / "state"), **env},
        stdin=stdin,
        capture_output=True,
        text=True,
        timeout=WAIT_S,
        check=False,
        preexec_fn=enter(group),
    )


def told(folder: Path, *words: str, code: int = 0, group: str | None = None, **env: Any) -> dict[str, Any]:
    """Run a command; return the one JSON object that it prints."""
    done = run(folder, *words, "--json", group=group, **env)
    assert (done.returncode, done.stderr) == (code, ""), done.stderr
    (line,) = done.stdout.splitlines()
    found: dict[str, Any] = json.loads(line)
    return found
