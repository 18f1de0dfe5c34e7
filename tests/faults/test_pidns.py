"""A service in its own pid namespace: none of its processes survives, even if guard and supervisor die at once."""

from __future__ import annotations

import os
import signal
import sys
from contextlib import suppress
from pathlib import Path

import pytest

if sys.platform != "linux":
    pytest.skip("pid namespaces", allow_module_level=True)

from sidecar.host.linux import processes
from tests.children.trees import SIZES
from tests.faults.cell import ALL_TREES, Cell, service
from tests.faults.direct import Direct, program
from tests.faults.test_system_limits import AS_NOBODY, only_root, shell
from tests.faults.test_system_surroundings import can, commands_of
from tests.support.command import Message, Refused
from tests.support.liveness import await_end, marked, send
from tests.support.waiting import until

KILL, STOP = signal.SIGKILL, signal.SIGSTOP
ISOLATED: Message = {"isolation": "pidNamespace"}

pytestmark = pytest.mark.skipif(
    not (can("--pid", "--fork") or can("--user", "--pid", "--fork")), reason="a pid namespace cannot be made here"
)

STRIKES = {
    "guard and supervisor": [("guard", KILL), ("supervisor", KILL)],
    "supervisor and guard": [("supervisor", KILL), ("guard", KILL)],
    "both, stopped before": [("guard", STOP), ("supervisor", STOP), ("supervisor", KILL), ("guard", KILL)],
    "the app, too": [("guard", STOP), ("supervisor", STOP), ("app", KILL), ("supervisor", KILL), ("guard", KILL)],
}


@pytest.mark.parametrize("hits", STRIKES.values(), ids=STRIKES)
def test_no_tree_survives_a_double_kill_even_without_a_next_start(tmp_path: Path, hits: list[tuple[str, int]]) -> None:
    """Without a control group, nothing but the namespace ends daemons with an empty environment."""
    services = {kind: {**service(kind), **ISOLATED} for kind in ALL_TREES}
    with Cell(tmp_path, ALL_TREES, services=services) as cell:
        assert not cell.contained
        cell.grow()
        cell.strike(*hits)
        cell.assert_nothing_left_alive()


@pytest.mark.parametrize("victim", ["app", "supervisor", "guard"])
def test_no_process_of_any_tree_survives_a_single_death(tmp_path: Path, victim: str) -> None:
    services = {kind: {**service(kind), **ISOLATED} for kind in ALL_TREES}
    with Cell(tmp_path, ALL_TREES, services=services) as cell:
        cell.grow()
        cell.strike((victim, KILL))
        cell.assert_nothing_left()


@pytest.mark.parametrize("kind", ALL_TREES)
def test_a_stop_ends_the_tree_and_it_can_be_started_again(tmp_path: Path, kind: str) -> None:
    with Direct(tmp_path) as it:
        it.serve({kind: {**service(kind), **ISOLATED, "stop": {"timeoutMs": 200}}})
        for _turn in range(2):
            it.roll.await_living(kind, SIZES[kind])
            it.client.call("stop", service=kind)
            it.roll.await_dead(kind)
            it.client.call("start", service=kind)
        it.let_go(it.stdin)
        assert it.exit_code() == 3


ENDS: dict[str, tuple[str, Message]] = {
    "a code": ("exit:7", {"code": 7}),
    "success": ("exit:0", {"code": 0}),
    "a signal": ("die:SIGSEGV", {"signal": "SIGSEGV"}),
    "SIGKILL": ("die:SIGKILL", {"signal": "SIGKILL"}),
    "a signal that is blocked in between": ("die:SIGTERM", {"signal": "SIGTERM"}),
}


@pytest.mark.parametrize(("word", "end"), ENDS.values(), ids=ENDS)
def test_the_programs_own_end_is_told(tmp_path: Path, word: str, end: Message) -> None:
    with Direct(tmp_path) as it:
        it.client.hello({"it": program("print:up", word, **ISOLATED)})
        it.client.send("start", service="it")
        told = it.client.note("service/exited", service="it")
        assert {name: told[name] for name in ("code", "signal") if name in told} == end
        it.client.printed("it", "up")


def test_a_stop_asks_the_program_and_waits_for_it(tmp_path: Path) -> None:
    with Direct(tmp_path) as it:
        it.serve({"it": program("report:SIGINT", "print:up", "hold", stop={"signal": "SIGINT"}, **ISOLATED)})
        it.client.printed("it", "up")
        it.client.call("stop", service="it")
        it.client.printed("it", "got SIGINT")
        assert it.client.note("service/exited", service="it")["code"] == 0


def test_a_program_that_is_not_one_is_refused_as_ever(tmp_path: Path) -> None:
    file = tmp_path / "text"
    file.write_text("no program")
    file.chmod(0o755)
    with Direct(tmp_path) as it:
        it.client.hello({"it": {"type": "command", "command": [str(file)], **ISOLATED}})
        with pytest.raises(Refused, match="Exec format error"):
            it.client.call("start", service="it")


def test_its_port_is_known_to_be_its_own(tmp_path: Path) -> None:
    """The supervisor looks from outside the namespace, where the pids differ."""
    with Direct(tmp_path) as it:
        words = ("listen:127.0.0.1={port}", "hold")
        it.serve({"it": program(*words, port={"sticky": False}, ready={"type": "tcp"}, **ISOLATED)})
        assert it.client.status("it")["state"] == "ready"


@pytest.mark.parametrize("which", ["the waiter", "init", "the program"])
def test_whichever_of_the_three_is_killed_the_service_has_ended_by_SIGKILL(tmp_path: Path, which: str) -> None:
    with Direct(tmp_path) as it:
        it.serve({"daemon": {**service("daemon"), **ISOLATED}})
        it.roll.await_living("daemon", SIZES["daemon"])
        chain = [it.client.status("daemon")["pid"]]
        [root] = [member.pid for member in it.roll.living("daemon") if member.role == "root"]
        init = processes.read_process(root)
        assert init is not None
        chain += [init.ppid, root]
        victim = os.pidfd_open(chain[["the waiter", "init", "the program"].index(which)])
        send(victim, KILL)
        await_end(victim)
        os.close(victim)
        it.roll.await_dead("daemon")
        assert it.client.note("service/exited", service="daemon")["signal"] == "SIGKILL"


# ── as any user ───────────────────────────────────────────────────────────────────────────────────────────────────────

WITHOUT_NAMESPACES = (
    *("unshare", "--user", "--map-root-user", "sh", "-c"),
    *('echo 0 >/proc/sys/user/max_user_namespaces && exec "$@"', "sh"),
    *("setpriv", "--bounding-set=-all", "--inh-caps=-all"),
)
"""A command prefix: a user namespace without capabilities that allows no nested user namespace."""

TREE = "(setsid env -i sleep 100 &) ; echo pid $$ of user $(id -u):$(id -g), $(readlink /proc/self); exec sleep 100"


@only_root
@pytest.mark.skipif(not can("--user", "--pid", "--fork"), reason="user namespaces are off here")
def test_an_unprivileged_user_has_it_too_and_stays_himself(tmp_path: Path) -> None:
    tmp_path.chmod(0o777)
    (tmp_path / "state").mkdir(mode=0o777)
    os.chown(tmp_path / "state", 54321, 54321)
    with Direct(tmp_path, prefix=AS_NOBODY) as it:
        hello = it.client.hello({"it": {**shell(TREE), **ISOLATED}})
        it.client.call("start", service="it")
        it.client.printed("it", "pid 2 of user 54321:54321, ")
        until(lambda: "sleep 100" in commands_of(it.roll), "the program")
        waiter = os.pidfd_open(it.client.status("it")["pid"])
        daemon = os.pidfd_open(until(lambda: daemon_below(it.client.status("it")["pid"]), "the daemon"))
        ours = [os.pidfd_open(pid) for pid in (it.process.pid, hello["pid"])]
        for number in (STOP, KILL):
            for pidfd in ours:
                send(pidfd, number)
        for pidfd in (*ours, waiter, daemon):
            await_end(pidfd)
            os.close(pidfd)
        until(lambda: not marked(it.roll.name), "the end of all processes with the roll call in their environment")


def daemon_below(pid: int) -> int | None:
    """Return the pid of the daemon, a sleep with an empty environment, once it is that."""
    for it in processes.below([pid], processes.all_processes()):
        with suppress(FileNotFoundError, ProcessLookupError):  # it has ended since the listing
            if not processes.environment(it.pid) and Path(f"/proc/{it.pid}/cmdline").read_bytes().startswith(b"sleep"):
                return it.pid
    return None


@only_root
@pytest.mark.skipif(not can("--user", "--pid", "--fork"), reason="user namespaces are off here")
def test_start_without_namespaces_is_refused_with_advice(tmp_path: Path) -> None:
    """A service without isolation starts afterwards."""
    with Direct(tmp_path, prefix=WITHOUT_NAMESPACES) as it:
        it.client.hello({"isolated": {**service("plain"), **ISOLATED}, "plain": service("plain")})
        with pytest.raises(Refused) as refused:
            it.client.call("start", service="isolated")
        assert refused.value.kind == "ProcessSpawnFailed"
        for words in ("isolation 'pidNamespace' is not available here", "unshare: ", "kernel.", "leave isolation out"):
            assert words in refused.value.message
        it.client.call("start", service="plain")
        it.roll.await_living("plain", SIZES["plain"])
        it.let_go(it.stdin)
        assert it.exit_code() == 3
        assert "Traceback" not in it.stderr.read_text()
