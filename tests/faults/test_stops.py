"""Explicit stops: first the stop signal, then a kill, in order and in time, whatever state the tree is in."""

from __future__ import annotations

import signal
import sys
from pathlib import Path

import pytest

if sys.platform != "linux":
    pytest.skip("pidfds, control groups and /proc", allow_module_level=True)

from tests.children.trees import SIZES
from tests.faults.cell import ALL_TREES, Cell, service
from tests.faults.direct import Direct, program
from tests.support.command import Refused
from tests.support.liveness import state_of
from tests.support.waiting import until

NEVER_MS = 86_000_000
"""Longer than any test run: a test that waits for it fails."""
SOON_MS = 50


def test_a_stop_asks_the_whole_group_by_SIGTERM_and_waits_for_it(tmp_path: Path) -> None:
    web = program("report:SIGTERM", "child", "print:up", "hold", stop={"timeoutMs": NEVER_MS})
    with Direct(tmp_path).serve({"web": web}) as it:
        it.client.printed("web", "up")
        it.client.find(lambda _: str(it.client.notes("service/log")).count("'up'") == 2, "both are up")
        assert it.client.call("stop", service="web")["status"]["state"] == "stopped"
        assert [line for note in it.client.notes("service/log") for line in note["lines"]].count("got SIGTERM") == 2
        exited = {"service": "web", "reason": "stopped", "cause": "requested", "code": 0}
        assert it.client.note("service/exited") == exited


@pytest.mark.parametrize("name", ["SIGINT", "SIGHUP", "SIGQUIT", "SIGUSR1", "SIGUSR2"])
def test_the_services_own_stop_signal_is_used(tmp_path: Path, name: str) -> None:
    web = program("ignore:SIGTERM", f"report:{name}", "print:up", "hold", stop={"signal": name, "timeoutMs": NEVER_MS})
    with Direct(tmp_path).serve({"web": web}) as it:
        it.client.printed("web", "up")
        it.client.call("stop", service="web")
        it.client.printed("web", f"got {name}")


def test_one_that_is_deaf_is_killed_after_its_time(tmp_path: Path) -> None:
    web = program("ignore:SIGTERM", "child", "daemon", "print:up", "hold", stop={"timeoutMs": SOON_MS})
    with Direct(tmp_path).serve({"web": web}) as it:
        it.client.printed("web", "up")
        it.client.call("stop", service="web")
        it.roll.await_dead("web")
        assert it.client.note("service/exited")["signal"] == "SIGKILL"


@pytest.mark.parametrize("stop", [{"signal": "SIGKILL"}, {"timeoutMs": 0}], ids=["by SIGKILL", "in no time"])
def test_a_stop_can_be_a_kill_at_once(tmp_path: Path, stop: dict[str, object]) -> None:
    web = program("report:SIGTERM", "print:up", "hold", stop={"timeoutMs": NEVER_MS, **stop})
    with Direct(tmp_path).serve({"web": web}) as it:
        it.client.printed("web", "up")
        it.client.call("stop", service="web")
        assert it.client.note("service/exited")["signal"] == "SIGKILL"


def test_a_stopped_tree_is_woken_to_see_the_signal(tmp_path: Path) -> None:
    web = program("report:SIGTERM", "print:up", "die:SIGSTOP", stop={"timeoutMs": NEVER_MS})
    with Direct(tmp_path).serve({"web": web}) as it:
        pid = it.client.status("web")["pid"]
        until(lambda: state_of(pid) == "T", "its stop")
        it.client.call("stop", service="web")
        it.client.printed("web", "got SIGTERM")


@pytest.mark.parametrize("contained", [True, False], ids=["in a control group", "without"])
def test_every_tree_is_gone_when_its_stop_is_answered(tmp_path: Path, contained: bool) -> None:
    """A daemon without an environment cannot be assigned to one of several services: see the next test."""
    kinds = [kind for kind in ALL_TREES if kind != "scrubbed"]
    trees = {kind: service(kind, stop={"timeoutMs": SOON_MS}) for kind in kinds}
    with Cell(tmp_path, (), contained=contained, services=trees) as cell:
        cell.grow()
        for kind in kinds:
            cell.client.call("stop", service=kind)
            cell.roll.await_dead(kind)
            for other in kinds[kinds.index(kind) + 1 :]:
                cell.roll.await_living(
                    other, SIZES[other]
                )  # the others lost no process; the storm always replaces its own
        cell.client.call("shutdown")
        cell.assert_nothing_left()


def test_a_daemon_without_an_environment_ends_with_the_only_service(tmp_path: Path) -> None:
    with Cell(tmp_path, (), services={"scrubbed": service("scrubbed", stop={"timeoutMs": SOON_MS})}) as cell:
        cell.grow()
        cell.client.call("stop", service="scrubbed")
        cell.roll.await_dead()


def test_a_root_that_ends_takes_what_it_leaves_with_it(tmp_path: Path) -> None:
    """The daemon holds the root's pipes, too. The run's end must not wait for those."""
    with Direct(tmp_path) as it:
        it.serve({"web": program("daemon", "print:up", "exit:7")})
        assert it.client.note("service/exited", service="web")["code"] == 7
        it.client.printed("web", "up")
        assert it.client.status("web")["state"] == "failed"


def test_a_stop_while_it_starts_ends_the_start(tmp_path: Path) -> None:
    web = program("print:up", "hold", ready={"type": "log", "pattern": "never"})
    with Direct(tmp_path) as it:
        it.client.hello({"web": web})
        start = it.client.send("start", service="web")
        it.client.printed("web", "up")
        stop = it.client.send("stop", service="web")
        with pytest.raises(Refused, match="stopped before it was ready"):
            it.client.answer(start)
        it.client.answer(stop)
        it.roll.await_dead()


def test_a_stop_while_it_is_prepared_ends_the_start(tmp_path: Path) -> None:
    with Direct(tmp_path) as it:
        it.client.hello({"web": program("hold")})
        start, stop = it.client.send_at_once(("start", {"service": "web"}), ("stop", {"service": "web"}))
        with pytest.raises(Refused, match="stopped before it was ready"):
            it.client.answer(start)
        assert it.client.answer(stop)["status"]["state"] == "stopped"
        it.roll.await_dead()


def test_a_shutdown_stops_what_depends_on_a_service_before_the_service(tmp_path: Path) -> None:
    names = ("database", "api", "web")
    needs = {"database": [], "api": ["database"], "web": ["api"]}
    with Direct(tmp_path) as it:
        it.serve({name: program("report:SIGTERM", "print:up", "hold", dependsOn=needs[name]) for name in names})
        for name in names:
            it.client.printed(name, "up")
        it.client.call("shutdown")
        told = [(it["service"], it["state"]) for it in it.client.notes("service/state")][-6:]
        assert told == [(name, state) for name in reversed(names) for state in ("stopping", "stopped")]
        assert it.exit_code() == 0


def test_the_grace_of_a_shutdown_bounds_all_of_it(tmp_path: Path) -> None:
    deaf = program("ignore:SIGTERM", "print:up", "hold", stop={"timeoutMs": NEVER_MS})
    with Direct(tmp_path) as it:
        it.serve({"one": deaf, "two": deaf})
        for name in ("one", "two"):
            it.client.printed(name, "up")
        it.client.call("shutdown", graceMs=SOON_MS)
        assert {note["signal"] for note in it.client.notes("service/exited")} == {"SIGKILL"}
        assert it.exit_code() == 0


@pytest.mark.parametrize("name", ["SIGTERM", "SIGINT", "SIGHUP"])
def test_signal_to_the_launched_process_stops_gracefully_and_sets_its_code(tmp_path: Path, name: str) -> None:
    with Direct(tmp_path) as it:
        it.serve({"web": program("report:SIGTERM", "print:up", "hold", stop={"timeoutMs": NEVER_MS})})
        it.client.printed("web", "up")
        it.process.send_signal(signal.Signals[name])
        it.client.printed("web", "got SIGTERM")
        it.client.note("service/state", service="web", state="stopped")
        assert it.exit_code() == 128 + signal.Signals[name]


def test_a_second_signal_does_not_wait(tmp_path: Path) -> None:
    with Direct(tmp_path) as it:
        it.serve({"web": program("ignore:SIGTERM", "daemon", "print:up", "hold", stop={"timeoutMs": NEVER_MS})})
        it.client.printed("web", "up")
        it.process.send_signal(signal.SIGTERM)
        it.client.note("service/state", service="web", state="stopping")
        it.process.send_signal(signal.SIGINT)
        assert it.exit_code() == 128 + signal.SIGINT


def test_a_service_that_wants_a_grace_at_the_apps_death_gets_it(tmp_path: Path) -> None:
    with Direct(tmp_path) as it:
        it.serve(
            {
                "quick": program("report:SIGTERM", "print:up", "hold"),
                "tidy": program("report:SIGTERM", "print:up", "hold", stop={"appDeathGraceMs": 60_000}),
            }
        )
        for name in ("quick", "tidy"):
            it.client.printed(name, "up")
        it.let_go(it.stdin)
        it.client.read_to_end()
        assert it.client.note("service/exited", service="tidy").get("code") == 0
        assert it.client.note("service/exited", service="quick").get("signal") == "SIGKILL"
        assert it.exit_code() == 3


def test_the_grace_at_the_apps_death_has_an_end(tmp_path: Path) -> None:
    deaf = program("ignore:SIGTERM", "print:up", "hold", stop={"appDeathGraceMs": SOON_MS, "timeoutMs": NEVER_MS})
    with Direct(tmp_path) as it:
        it.serve({"web": deaf})
        it.client.printed("web", "up")
        it.let_go(it.stdin)
        it.client.read_to_end()
        assert it.client.note("service/exited")["signal"] == "SIGKILL"
        assert it.exit_code() == 3


def test_a_guard_that_sees_the_app_die_leaves_the_services_their_grace(tmp_path: Path) -> None:
    note = tmp_path / "note"
    script = "import pathlib, signal, sys; signal.signal(15, lambda *_: sys.exit(pathlib.Path(sys.argv[1]).touch())); "
    script += "print('up', flush=True); signal.pause()"
    tidy = {
        "type": "command",
        "command": [sys.executable, "-I", "-S", "-c", script, str(note)],
        "stop": {"appDeathGraceMs": 60_000},
    }
    with Cell(tmp_path, (), services={"tidy": tidy}) as cell:
        cell.client.start_all(cell.services)
        cell.client.printed("tidy", "up")
        cell.strike(("app", signal.SIGKILL))
        cell.assert_nothing_left()
        assert note.exists()
