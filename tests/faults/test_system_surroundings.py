"""A disk that takes nothing, a /proc that shows little or the wrong thing, a pid that is used again, no clock."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

if sys.platform != "linux":
    pytest.skip("mount and pid namespaces", allow_module_level=True)

import resource

from tests.children.trees import SIZES
from tests.faults.cell import CHILDREN, ROOT, service
from tests.faults.direct import Direct
from tests.faults.test_system_limits import AS_NOBODY, limit, only_root, shell
from tests.support.command import BINARY, Message
from tests.support.liveness import LIFE_S, RollCall, await_end, marked
from tests.support.waiting import until


def can(*flags: str) -> bool:
    """Whether namespaces can be made here."""
    unshare = shutil.which("unshare")
    return unshare is not None and subprocess.run([unshare, *flags, "true"], capture_output=True).returncode == 0  # noqa: PLW1510  that is the question


finds_itself = pytest.mark.skipif(BINARY is not None, reason="the bootloader finds itself by /proc")
namespaces = pytest.mark.skipif(not can("-m"), reason="a mount namespace cannot be made here")


def within(script: str) -> tuple[str, ...]:
    """A command line's prefix: it runs in a mount namespace of its own, after the script."""
    return ("unshare", "-m", "sh", "-c", f'{script} && exec "$@"', "sh")


def serves(it: Direct, *kinds: str) -> None:
    """Start, stop, start again, and end: all as if nothing were wrong."""
    services: Message = {kind: service(kind) for kind in kinds}
    it.serve(services)
    for kind in kinds:
        it.roll.await_living(kind, SIZES[kind])
        it.client.call("stop", service=kind)
        it.roll.await_dead(kind)
        it.client.call("start", service=kind)
        it.roll.await_living(kind, SIZES[kind])


def ends(it: Direct) -> str:
    """Let go of it; what it had said on stderr."""
    it.let_go(it.stdin)
    assert it.exit_code() == 3
    said = it.stderr.read_text()
    assert "Traceback" not in said
    return said


# ── the disk ──────────────────────────────────────────────────────────────────────────────────────────────────────────

DISKS = {
    "full": ("size=4k,nr_inodes=1", "No space left on device"),
    "not to be written to": ("ro", "Read-only file system"),
}


@namespaces
@pytest.mark.parametrize(("options", "reason"), DISKS.values(), ids=DISKS)
def test_a_state_folder_on_a_disk_that_takes_nothing_is_said_and_the_services_run(
    tmp_path: Path, options: str, reason: str
) -> None:
    state = tmp_path / "state"
    state.mkdir()
    with Direct(tmp_path, prefix=within(f"mount -t tmpfs -o {options} none '{state}'")) as it:
        serves(it, "plain", "daemon")
        [problem] = [text for text in it.client.note("supervisor/swept")["problems"] if "no record" in text]
        assert reason in problem
        assert reason in ends(it)


@namespaces
def test_a_disk_that_fills_up_later_costs_only_what_ps_would_show(tmp_path: Path) -> None:
    """One page is enough for the first record, and not for a longer draft beside it."""
    state = tmp_path / "state"
    state.mkdir()
    with Direct(tmp_path, prefix=within(f"mount -t tmpfs -o size=4k none '{state}'")) as it:
        serves(it, "plain")
        until(lambda: "out of date" in it.stderr.read_text(), "the warning")
        assert "No space left on device" in ends(it)


@namespaces
def test_a_port_that_a_full_disk_keeps_from_being_remembered_leaves_no_part_of_it(tmp_path: Path) -> None:
    """The file is made, as there is an inode for it, and gets nothing to be in it."""
    state = tmp_path / "state"
    state.mkdir()
    with Direct(tmp_path, prefix=within(f"mount -t tmpfs -o size=4k none '{state}'")) as it:
        it.serve({"listener": service("listener", port={"sticky": True})})
        until(lambda: "could not be remembered: " in it.stderr.read_text(), "the warning")
        seen = Path(f"/proc/{it.process.pid}/root{state}")  # it is mounted in there only
        assert sorted(path.name for path in seen.iterdir()) == ["logs", "runs"]
        assert "No space left on device" in ends(it)


@pytest.mark.skipif(BINARY is not None, reason="the files that the bootloader unpacks are larger")
def test_a_limit_on_files_is_said_and_the_services_run(tmp_path: Path) -> None:
    """The kernel's signal for it, SIGXFSZ, would end a program that does not mind its disk."""
    with Direct(tmp_path, before_exec=limit(resource.RLIMIT_FSIZE, 200)) as it:
        serves(it, "plain", "daemon")
        assert "File too large" in it.client.note("supervisor/swept")["problems"][0]
        ends(it)


# ── /proc ─────────────────────────────────────────────────────────────────────────────────────────────────────────────


@namespaces
def test_a_mount_with_a_name_that_is_no_text_is_nothing_to_us(tmp_path: Path) -> None:
    """The kernel lists it beside that of the control groups: a stick from another system was the end of each start."""
    stick = Path(os.fsdecode(os.fsencode(tmp_path) + b"/Fran\xe7ois"))
    stick.mkdir()
    with Direct(tmp_path, prefix=within(f"mount -t tmpfs none '{tmp_path}'/Fran*")) as it:
        serves(it, "plain", "daemon")
        ends(it)


@namespaces
@only_root
def test_where_others_are_hidden_our_own_are_still_found(tmp_path: Path) -> None:
    """As on a machine with hidepid=2: a daemon that left its group is of the same user as we are."""
    tmp_path.chmod(0o777)
    script = "(setsid sh -c 'exec sleep 100' &) ; exec sleep 100"
    hidden = within("mount -t proc -o hidepid=2 proc /proc")
    with Direct(tmp_path, prefix=(*hidden, *AS_NOBODY)) as it:
        it.client.hello({"it": shell(script)})
        for _turn in range(2):
            it.client.call("start", service="it")
            until(lambda: commands_of(it.roll).count("sleep 100") == 2, "the service and its daemon")
            it.client.call("stop", service="it")
            assert "sleep 100" not in commands_of(it.roll)
        it.client.call("start", service="it")
        until(lambda: commands_of(it.roll).count("sleep 100") == 2, "the service and its daemon")
        ends(it)
        until(lambda: not marked(it.roll.name), "the end of all that has the roll's mark")


@namespaces
@only_root
def test_a_living_one_that_is_hidden_from_its_own_user_is_not_taken_for_dead() -> None:
    """One that nobody may look into (as an agent that has keys): its run, and its group, would be swept."""
    script = """
import ctypes, os
from sidecar.host.linux import orphans, processes
from sidecar.state.run_record import Identity
told, tell = os.pipe()
wait, go = os.pipe()
child = os.fork()
if child == 0:
    os.close(go)
    start = processes.read_process(os.getpid()).start
    ctypes.CDLL(None).prctl(4, 0, 0, 0, 0)
    os.write(tell, str(start).encode())
    os.read(wait, 1)
    os._exit(0)
start = int(os.read(told, 32))
assert processes.read_process(child) is None
assert orphans.lives(Identity(child, start))
os.close(go)
os.waitpid(child, 0)
assert not orphans.lives(Identity(child, start))
"""
    hidden = within("mount -t proc -o hidepid=2 proc /proc")
    command = [*hidden, *AS_NOBODY, sys.executable, "-c", script]
    done = subprocess.run(command, cwd=ROOT, timeout=LIFE_S, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def commands_of(roll: RollCall) -> list[str]:
    """The command lines of all that has the roll's mark."""
    found = []
    for pid in marked(roll.name):
        try:
            found.append(Path(f"/proc/{pid}/cmdline").read_text().replace("\0", " ").strip())
        except (FileNotFoundError, ProcessLookupError):
            continue  # it went since the look
    return found


@namespaces
@finds_itself
def test_without_proc_it_claims_less_and_says_why(tmp_path: Path) -> None:
    with Direct(tmp_path, prefix=within("mount -t tmpfs none /proc")) as it:
        guarantees = it.client.hello({"plain": service("plain")})["guarantees"]
        assert [guarantees[name] for name in ("guard", "subreaper", "controlGroup")] == [False, False, False]
        assert guarantees["parentDeathSignal"]
        it.client.start_all({"plain": None})
        it.roll.await_living("plain", SIZES["plain"])
        assert "unshare --mount-proc" in ends(it)


@pytest.mark.skipif(not can("-m", "--pid", "--fork"), reason="namespaces cannot be made here")
@finds_itself
@pytest.mark.parametrize(
    "prefix", [within("mount -t tmpfs none /proc"), ("unshare", "--pid", "--fork", "--kill-child")]
)
def test_without_its_own_proc_a_service_is_ready_when_its_port_answers(tmp_path: Path, prefix: tuple[str, ...]) -> None:
    """Whose the socket is cannot be read there. The port was free when it was chosen."""
    code = "import os, socket; s = socket.create_server(('127.0.0.1', int(os.environ['PORT'])))\nwhile s.accept(): pass"
    port = {"env": "PORT", "sticky": False}
    command = [sys.executable, "-I", "-S", "-c", code]
    web = {"type": "command", "command": command, "port": port, "ready": {"type": "tcp"}, "cwd": "/"}
    with Direct(tmp_path, prefix=prefix) as it:
        it.serve({"web": web})
        assert it.client.status("web")["state"] == "ready"
        ends(it)


@pytest.mark.skipif(not can("--pid", "--fork"), reason="a pid namespace cannot be made here")
@finds_itself
def test_with_the_proc_of_another_namespace_nobody_elses_number_is_taken_for_one_of_ours(tmp_path: Path) -> None:
    """What is ours inside is another process there, and all below that would be killed for our tree."""
    with Direct(tmp_path, prefix=("unshare", "--pid", "--fork", "--kill-child")) as it:
        guarantees = it.client.hello({"plain": service("plain")})["guarantees"]
        assert [guarantees[name] for name in ("guard", "subreaper", "controlGroup")] == [False, False, False]
        it.client.start_all({"plain": None})
        it.roll.await_living("plain", SIZES["plain"])
        it.client.call("stop", service="plain")
        it.roll.await_dead("plain")
        ends(it)


# ── pids ──────────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.skipif(
    not can("--pid", "--fork", "--mount-proc"), reason="a pid namespace with a /proc of its own cannot be made here"
)
def test_a_pid_that_the_kernel_gave_to_another_one_is_neither_signalled_nor_swept_for_the_dead(tmp_path: Path) -> None:
    """For real: in a namespace whose next pid we choose."""
    namespace = ("unshare", "--pid", "--fork", "--kill-child", "--mount-proc")
    script = [sys.executable, "-I", str(CHILDREN / "reuse.py"), str(ROOT)]
    done = subprocess.run(
        [*namespace, *script],
        env={**os.environ, "SIDECAR_STATE_DIR": str(tmp_path / "state")},
        timeout=LIFE_S,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == [
        "another start",
        "the dead one takes no signal",
        "the owner is dead",
        "the record went, and the other one lives",
    ]


# ── the clock ─────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.skipif(BINARY is not None, reason="the clock is taken away by a script")
def test_nobody_asks_for_the_time_of_day_so_that_no_jump_of_it_is_noticed(tmp_path: Path) -> None:
    """It jumps when a laptop wakes up, or its owner sets it. Whoever asks finds that it is not there."""
    folder = tmp_path / "sidecar"
    folder.mkdir()
    prefix = (sys.executable, str(CHILDREN / "timeless.py"))
    again = {"policy": "onFailure", "backoff": {"initialMs": 1}, "limit": 1}
    with Direct(folder, prefix=prefix) as it:
        it.client.hello({"plain": service("plain"), "dying": {**shell("exit 1"), "restart": again}})
        it.client.start_all({"plain": None})
        it.roll.await_living("plain", SIZES["plain"])
        it.client.send("start", service="dying")
        it.client.note("service/state", service="dying", state="failed")
        it.client.call("stop", service="plain")
        pidfd = os.pidfd_open(it.process.pid)
        it.client.call("shutdown")
        await_end(pidfd, "the sidecar")
        os.close(pidfd)
        assert it.process.wait() == 0
        assert it.stderr.read_text() == ""
