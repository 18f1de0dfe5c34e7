"""``sidecar doctor --prove``: it confirms true claims, finds false ones, and leaves nothing in either case."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil
import pytest

if sys.platform != "linux":
    pytest.skip("pidfds, control groups and /proc", allow_module_level=True)

from sidecar.commands.doctor.prove.linux import platform, trees
from sidecar.commands.doctor.prove.platform import VITE
from sidecar.host.linux import layers
from tests.commands.support import enter, run, told
from tests.faults.cell import ROOT
from tests.support.command import BINARY, SIDECAR, from_source
from tests.support.liveness import RollCall, await_end, control_group, marked
from tests.support.waiting import until

NODE = shutil.which("node")

WEDGED = "the app, while the supervisor is stopped"
ALONE = "the supervisor (no control group)"
BOTH = "guard and supervisor at once"

VICTIMS = ["the app", WEDGED, ALONE, "the guard"]
VICTIMS += [*(["the bootloader"] if BINARY else []), BOTH]
WITHOUT_GROUP = f"{BOTH} (no control group)"

TREES = {kind: size for kind, size in trees.SIZES.items() if NODE or kind != VITE}
PROCESSES = sum(TREES.values())
OUTLIVE_BOTH = PROCESSES - (0 if BINARY else len(TREES)) - bool(NODE) * (2 if BINARY else 1)
"""The supervisor's own children die with it, and Vite's node ends. If frozen, each child is a bootloader, which is not
part of the tree; node also ends the program above it, which is in its process group."""


@pytest.fixture
def project(tmp_path: Path) -> str:
    """Make a project in which nothing is missing, except perhaps node."""
    package = tmp_path / "project" / "node_modules" / "vite"
    (package / "bin").mkdir(parents=True)
    (package / "package.json").write_text('{"bin": "bin/vite.js"}')
    (package / "bin" / "vite.js").write_text("")
    return str(tmp_path / "project")


@contextmanager
def watched(folder: Path, *, divisible: bool = True) -> Iterator[tuple[str | None, dict[str, Any]]]:
    """Yield a group and variables for doctor. At the end no process or file of it may be left."""
    temporary = folder / "tmp"
    temporary.mkdir()
    mark = os.urandom(16).hex()
    with control_group(divisible=divisible) as group:
        yield group, {"TMPDIR": str(temporary), "DOCTOR_MARK": mark}
        until(lambda: not marked(mark), "the end of all its processes")  # a keeper ends by itself, after doctor
        assert list(temporary.iterdir()) == []
        if group is not None:
            until(lambda: not Path(f"{group}/cgroup.procs").read_text(), "an empty group")
            assert [it for it in Path(group).iterdir() if it.is_dir()] == []


CODE = 0 if NODE else 1
"""A missing node is bad."""


def test_here_every_claim_holds_and_nobody_survives(tmp_path: Path, project: str) -> None:
    with watched(tmp_path) as (group, env):
        report = told(tmp_path, "doctor", project, "--prove", code=CODE, group=group, **env)
    rows = report["proof"]
    assert [it["killed"] for it in rows] == [*VICTIMS, WITHOUT_GROUP]
    for row in rows:
        assert row["processes"] == PROCESSES
        assert (row["survivors"], row["traces"], row["problem"]) == ([], [], None)
        assert len(row["excused"]) == (row["killed"] == WITHOUT_GROUP)
        assert row["held"] is True
        assert row["claims"]
    assert report["ok"] == bool(NODE)
    for last in rows[-2:]:
        assert last["untilNextStart"] == OUTLIVE_BOTH
        assert last["sweepMilliseconds"] > 0
    tried = {name for row in rows for name in row["claims"]}
    untried = {it["name"]: it["why"] for it in report["untried"]}
    assert sorted([*tried, *untried]) == sorted(it["name"] for it in report["layers"] if it["holds"])
    assert set(untried) <= ({"pidNamespace"} if NODE else {"pidNamespace", "stdinGuard"})
    assert all(untried.values())


@from_source
def test_without_a_node_what_it_would_do_is_not_said_to_hold(tmp_path: Path, project: str) -> None:
    place = tmp_path / "bin"
    place.mkdir()
    (place / "node").write_text("#!/bin/sh\necho broken >&2; exit 127\n")
    (place / "node").chmod(0o755)
    with watched(tmp_path) as (group, env):
        env |= {"PATH": f"{place}:/usr/bin:/bin", "PYTHONPATH": broken(tmp_path, "", WITHOUT_GROUP)}
        report = told(tmp_path, "doctor", project, "--prove", code=1, group=group, **env)
    assert {it["name"]: it["why"] for it in report["untried"]}["stdinGuard"] == "no working node was found"
    [row] = report["proof"]
    assert (row["held"], row["processes"]) == (True, PROCESSES - bool(NODE) * trees.SIZES[VITE])
    assert "stdinGuard" not in row["claims"]


@from_source
def test_the_exception_that_is_named_is_no_broken_claim(tmp_path: Path, project: str) -> None:
    """Without a control group, a scrubbed daemon outlives guard and supervisor. Then doctor itself kills it."""
    with watched(tmp_path, divisible=False) as (group, env):
        if group is None:
            pytest.skip("no delegated control group here")
        report = told(tmp_path, "doctor", project, "--prove", code=CODE, group=group, **env)
    assert [it["killed"] for it in report["proof"]] == [*VICTIMS[:-1], WITHOUT_GROUP]
    assert all(it["held"] for it in report["proof"])
    *others, last = report["proof"]
    assert all(not it["excused"] for it in others)
    (excused,) = last["excused"]
    assert excused.startswith("scrubbed daemon")
    assert "controlGroup" not in last["claims"]
    assert report["ok"] == bool(NODE)


@from_source
def test_a_person_sees_a_table(tmp_path: Path, project: str) -> None:
    shown = ["the app", WITHOUT_GROUP]
    with watched(tmp_path) as (group, env):
        env["PYTHONPATH"] = broken(tmp_path, "", *shown)
        done = run(tmp_path, "doctor", project, "--prove", group=group, **env)
    assert (done.returncode, done.stderr) == (CODE, "")
    rows = [line for line in done.stdout.splitlines() if line.endswith("  held")]
    assert [row.split("  ")[0] for row in rows] == shown
    assert f"{OUTLIVE_BOTH} lived on until the next start" in done.stdout


def broken(folder: Path, code: str, *victims: str) -> str:
    """Return a PYTHONPATH that patches every sidecar, so that a claim becomes false. Run only these trials."""
    place = folder / "broken"
    place.mkdir()
    (place / "sitecustomize.py").write_text(code + ONLY.format(victims=victims) + (IMPATIENT if code else ""))
    return f"{place}:{ROOT}"


ONLY = """
import sys
if "--prove" in sys.orig_argv:
    from sidecar.commands.doctor.prove.linux import platform
    platform.PLANS = {{name: plan for name, plan in platform.PLANS.items() if name in {victims!r}}}
"""

IMPATIENT = """
if "--prove" in sys.orig_argv:
    from sidecar.commands.doctor.prove import harness, trials
    trials.DEATH_S = harness.CLOSE_S = 2.0  # some processes survive by design: do not wait for them
"""

GUARD_KILLS_NOBODY = """
from sidecar.host.linux import cgroup, guard
guard.kill_until_empty = lambda *_, **__: []
guard.cgroup.kill = cgroup.kill = lambda _: None
"""

GUARD_DOES_NOT_SEE_THE_APP = """
from sidecar.host.linux import guard
init = guard.Guard.__init__
guard.Guard.__init__ = lambda self, supervisor, app, *others: init(self, supervisor, None, *others)
"""

NOBODY_SEES_THE_APP = (
    GUARD_DOES_NOT_SEE_THE_APP
    + """
from sidecar.host.linux import session
watch = session.LinuxSession.watch
def watch_blindly(self, gone, forwarded):
    self._lifeline.app = None
    watch(self, gone, forwarded)
session.LinuxSession.watch = watch_blindly
"""
)

GUARD_IS_NO_SUBREAPER = """
from sidecar.host.linux import guard
prctl = guard.prctl
guard.prctl = lambda option, argument: option == guard.PR_SET_CHILD_SUBREAPER or prctl(option, argument)
from sidecar.host.linux import host
host._become_subreaper = lambda: prctl(guard.PR_SET_CHILD_SUBREAPER, 1) is None
"""

SUPERVISOR_IS_NO_SUBREAPER = """
from sidecar.host.linux import host
host._become_subreaper = lambda: True
"""

NO_DEATH_SIGNAL = """
from sidecar.host.linux import host
host._death_with_parent = lambda _: lambda: None
"""

GROUP_WITH_NOBODY_IN_IT = """
from sidecar.host.linux import cgroup
cgroup.make = lambda guard, member: cgroup._make(guard, "cgroup.max.depth", "1")
"""

NO_COOKIE = """
from sidecar.host.posix import host
start = host.start
host.start = lambda service, launch, marks, *others: start(service, launch, {}, *others)
"""

NODE_IS_NOT_MADE_TO_END = """
from sidecar.host import stdin_guard
stdin_guard.SCRIPT = b"// does nothing"
"""

NOTHING_IS_SWEPT = """
from sidecar.host.linux import session
session.sweep = lambda: session.SupervisorSwept((), 0, 1, 0, ())
"""

LIES = [
    ("guard", GUARD_KILLS_NOBODY, ALONE),
    ("guard", GUARD_KILLS_NOBODY, WEDGED),
    ("guard", GUARD_DOES_NOT_SEE_THE_APP, WEDGED),
    ("parentWatch", NOBODY_SEES_THE_APP, "the app"),
    ("parentWatch", NOBODY_SEES_THE_APP, WEDGED),
    ("subreaper", GUARD_IS_NO_SUBREAPER, ALONE),
    ("subreaper", SUPERVISOR_IS_NO_SUBREAPER, "the guard"),
    ("parentDeathSignal", NO_DEATH_SIGNAL, BOTH),
    ("parentDeathSignal", NO_DEATH_SIGNAL, WITHOUT_GROUP),
    ("controlGroup", GROUP_WITH_NOBODY_IN_IT, BOTH),
    ("runCookie", NO_COOKIE, WITHOUT_GROUP),
    ("stdinGuard", NODE_IS_NOT_MADE_TO_END, BOTH),
    ("stdinGuard", NODE_IS_NOT_MADE_TO_END, WITHOUT_GROUP),
    ("controlGroup", NOTHING_IS_SWEPT, BOTH),
    ("runCookie", NOTHING_IS_SWEPT, WITHOUT_GROUP),
]
"""A claim, a patch that breaks it but still claims it, and the kill that reveals that."""


@from_source
@pytest.mark.parametrize(("claim", "code", "victim"), LIES)
def test_a_claim_that_does_not_hold_is_found_with_code_1(
    tmp_path: Path, project: str, claim: str, code: str, victim: str
) -> None:
    with watched(tmp_path) as (group, env):
        if group is None and claim == "controlGroup":
            pytest.skip("no delegated control group here")
        if NODE is None and claim == "stdinGuard":
            pytest.skip("no node on PATH")
        path = broken(tmp_path, code, victim)
        done = run(tmp_path, "doctor", project, "--prove", "--json", group=group, PYTHONPATH=path, **env)
    assert done.returncode == 1, done.stderr
    report = json.loads(done.stdout)
    [row] = report["proof"]
    assert claim in row["claims"]
    assert row["survivors"]
    assert (row["problem"], row["held"], report["ok"]) == (None, False, False)


def test_each_claim_is_broken_by_one_of_these() -> None:
    claimed = {name for plan in platform.PLANS.values() for name in plan.claims}
    assert claimed == set(layers.LAYERS) == {claim for claim, _, _ in LIES}
    tried = {(claim, victim) for claim, _, victim in LIES}
    assert {(name, it) for it, plan in platform.PLANS.items() for name in plan.claims} - tried == {
        ("guard", "the bootloader")  # only a frozen sidecar has one
    }


@from_source
def test_a_sidecar_that_does_not_even_start_is_a_broken_claim(tmp_path: Path, project: str) -> None:
    with watched(tmp_path) as (group, env):
        path = broken(tmp_path, "from sidecar.host.linux import guard\nguard.split = None\n", "the app", "the guard")
        done = run(tmp_path, "doctor", project, "--prove", group=group, PYTHONPATH=path, **env)
    assert done.returncode == 1
    assert done.stdout.count("not tried: the sidecar failed: it has ended") == 2
    assert "TypeError" in done.stderr, "the sidecar's own words"


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
def test_one_that_is_ended_in_the_middle_leaves_nothing_running(tmp_path: Path, project: str, number: int) -> None:
    """Its death closes its connections and the stand-in app's stdin, and the app ends with that."""
    with RollCall() as liveness, control_group(divisible=True) as group:
        mark = os.urandom(16).hex()
        env = {**os.environ, **liveness.env, "SIDECAR_STATE_DIR": str(tmp_path / "state"), "DOCTOR_MARK": mark}
        env["TMPDIR"] = str(tmp_path)
        with subprocess.Popen(
            [*SIDECAR, "doctor", project, "--prove", "--json"],
            cwd=ROOT,
            env=env,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            preexec_fn=enter(group),  # noqa: PLW1509  the test has no other thread
        ) as child:
            until(lambda: len(marked(mark)) > sum(trees.SIZES.values()), "a whole tree")
            bootloader = BINARY is not None and number == signal.SIGKILL  # the bootloader forwards the other signal
            pidfd = os.pidfd_open(psutil.Process(child.pid).children()[0].pid if bootloader else child.pid)
            signal.pidfd_send_signal(pidfd, number)
            await_end(pidfd, "doctor")
            os.close(pidfd)
            until(lambda: marked(mark) == [], "the end of all its processes")
            if number == signal.SIGINT:
                assert child.wait() == 130
                assert [it for it in os.listdir(tmp_path) if it.startswith("sidecar-doctor-")] == []


def test_the_parts_are_in_no_help_and_no_completion(tmp_path: Path) -> None:
    for words in (["--help"], ["doctor", "--help"], ["completions", "bash"]):
        assert "doctor-part" not in run(tmp_path, *words).stdout
