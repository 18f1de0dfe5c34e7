"""``sidecar doctor --prove``: true here, and it says so when it is not; nothing is left of it in either case."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

if sys.platform != "linux":
    pytest.skip("pidfds, control groups and /proc", allow_module_level=True)

from sidecar.doctor.linux import trees
from tests.command import BINARY, SIDECAR, from_source
from tests.commands.support import enter, run, told
from tests.faults.cell import ROOT
from tests.liveness import RollCall, await_end, control_group, marked, until

VICTIMS = ["the app", "the supervisor", "the guard", *(["the bootloader"] if BINARY else [])]
VICTIMS += ["guard and supervisor at once"]

PROCESSES = sum(trees.SIZES.values())
OUTLIVE_BOTH = PROCESSES if BINARY else PROCESSES - len(trees.SIZES)
"""The supervisor's own children die with it. In the binary each of them is a bootloader, and not one of the tree."""


@pytest.fixture
def project(tmp_path: Path) -> str:
    """A project that lacks nothing."""
    package = tmp_path / "project" / "node_modules" / "vite"
    (package / "bin").mkdir(parents=True)
    (package / "package.json").write_text('{"bin": "bin/vite.js"}')
    (package / "bin" / "vite.js").write_text("")
    place = tmp_path / "bin"
    place.mkdir()
    (place / "node").write_text("#!/bin/sh\necho v22.12.0\n")
    (place / "node").chmod(0o755)
    return str(tmp_path / "project")


@contextmanager
def watched(folder: Path, *, divisible: bool = True) -> Iterator[tuple[str | None, dict[str, Any]]]:
    """A group and variables for doctor; at the end nothing of it may be left, anywhere."""
    temporary = folder / "tmp"
    temporary.mkdir()
    mark = os.urandom(16).hex()
    with control_group(divisible=divisible) as group:
        yield group, {"TMPDIR": str(temporary), "DOCTOR_MARK": mark, "PATH": f"{folder / 'bin'}:{os.environ['PATH']}"}
        assert marked(mark) == []
        assert list(temporary.iterdir()) == []
        if group is not None:
            until(lambda: not Path(f"{group}/cgroup.procs").read_text(), "an empty group")
            assert [it for it in Path(group).iterdir() if it.is_dir()] == []


def test_here_every_claim_holds_and_nobody_survives(tmp_path: Path, project: str) -> None:
    with watched(tmp_path) as (group, env):
        report = told(tmp_path, "doctor", project, "--prove", group=group, **env)
    rows = report["proof"]
    assert [it["killed"] for it in rows] == VICTIMS
    for row in rows:
        assert row["processes"] == PROCESSES
        assert (row["survivors"], row["excused"], row["traces"], row["problem"]) == ([], [], [], None)
        assert row["held"] is True
        assert row["claims"]
    assert report["ok"] is True
    last = rows[-1]
    assert last["untilNextStart"] == OUTLIVE_BOTH
    assert last["sweepMilliseconds"] > 0


def test_the_exception_that_is_named_is_no_broken_claim(tmp_path: Path, project: str) -> None:
    """Without a control group, what scrubbed its environment outlives guard and supervisor: doctor itself ends it."""
    with watched(tmp_path, divisible=False) as (group, env):
        if group is None:
            pytest.skip("control groups are not ours to divide here")
        report = told(tmp_path, "doctor", project, "--prove", group=group, **env)
    *others, last = report["proof"]
    assert all(not it["excused"] for it in others)
    (excused,) = last["excused"]
    assert excused.startswith("scrubbed daemon")
    assert "controlGroup" not in last["claims"]
    assert report["ok"] is True


def test_a_person_sees_a_table(tmp_path: Path, project: str) -> None:
    with watched(tmp_path) as (group, env):
        done = run(tmp_path, "doctor", project, "--prove", group=group, **env)
    assert (done.returncode, done.stderr) == (0, "")
    rows = [line for line in done.stdout.splitlines() if line.endswith("  held")]
    assert [row.split("  ")[0] for row in rows] == VICTIMS
    assert f"{OUTLIVE_BOTH} lived on until the next start" in done.stdout


def broken(folder: Path, code: str) -> str:
    """A PYTHONPATH on which every sidecar that is started is made to lie: its code is replaced before it runs."""
    place = folder / "broken"
    place.mkdir()
    (place / "sitecustomize.py").write_text(code + IMPATIENT)
    return f"{place}:{ROOT}"


IMPATIENT = """
import sys
if "--prove" in sys.orig_argv:
    from sidecar.doctor import prove, standin
    prove.DEATH_S = standin.CLOSE_S = 2.0  # somebody survives by design: nobody needs to wait for it
"""

GUARD_KILLS_NOBODY = """
from sidecar.host.linux import cgroup
from sidecar.host.linux import guard
guard.kill_until_empty = lambda *_: []
guard.cgroup.kill = cgroup.kill = lambda _: None
"""

NO_DEATH_SIGNAL = """
from sidecar.host.linux import host as linux
linux._death_with_parent = lambda _: lambda: None
"""

NOTHING_IS_SWEPT = """
from sidecar.host.linux import tether as guarded
guarded.sweep = lambda: guarded.SupervisorSwept((), 0, 1, 0, ())
"""


@from_source
@pytest.mark.parametrize(
    ("code", "victim"),
    [
        (GUARD_KILLS_NOBODY, "the supervisor"),
        (NO_DEATH_SIGNAL, "guard and supervisor at once"),
        (NOTHING_IS_SWEPT, "guard and supervisor at once"),
    ],
    ids=["the guard kills nobody", "no parent-death signal", "nothing is swept"],
)
def test_a_claim_that_does_not_hold_is_found_with_code_1(tmp_path: Path, project: str, code: str, victim: str) -> None:
    with watched(tmp_path) as (group, env):
        path = broken(tmp_path, code)
        done = run(tmp_path, "doctor", project, "--prove", "--json", group=group, PYTHONPATH=path, **env)
    assert done.returncode == 1
    report = json.loads(done.stdout)
    failed = {it["killed"]: it for it in report["proof"] if not it["held"]}
    assert victim in failed
    assert failed[victim]["survivors"]
    assert report["ok"] is False


@from_source
def test_a_sidecar_that_does_not_even_start_is_a_broken_claim(tmp_path: Path, project: str) -> None:
    with watched(tmp_path) as (group, env):
        path = broken(tmp_path, "from sidecar.host.linux import guard\nguard.split = None\n")
        done = run(tmp_path, "doctor", project, "--prove", group=group, PYTHONPATH=path, **env)
    assert done.returncode == 1
    assert done.stdout.count("not tried: the sidecar does not do as it should: it has ended") == len(VICTIMS)
    assert "TypeError" in done.stderr, "the sidecar's own words"


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
def test_one_that_is_ended_in_the_middle_leaves_nothing_running(tmp_path: Path, project: str, number: int) -> None:
    """Its connections end with it, and the stand-in app ends with its end of stdin."""
    with RollCall() as roll, control_group(divisible=True) as group:
        mark = os.urandom(16).hex()
        env = {**os.environ, **roll.env, "SIDECAR_STATE_DIR": str(tmp_path / "state"), "DOCTOR_MARK": mark}
        env["TMPDIR"] = str(tmp_path)
        with subprocess.Popen(
            [*SIDECAR, "doctor", project, "--prove", "--json"],
            cwd=ROOT,
            env=env,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            preexec_fn=enter(group),  # noqa: PLW1509  the test has no other thread
        ) as child:
            until(lambda: len(marked(mark)) > sum(trees.SIZES.values()), "a tree that is whole")
            pidfd = os.pidfd_open(child.pid)
            child.send_signal(number)
            await_end(pidfd, "doctor")
            os.close(pidfd)
            until(lambda: marked(mark) == [], "the end of all its parts")
            if number == signal.SIGINT:
                assert child.wait() == 130
                assert [it for it in os.listdir(tmp_path) if it.startswith("sidecar-doctor-")] == []


def test_the_parts_are_in_no_help_and_no_completion(tmp_path: Path) -> None:
    for words in (["--help"], ["doctor", "--help"], ["completions", "bash"]):
        assert "doctor-part" not in run(tmp_path, *words).stdout
