"""A full disk, a /proc that hides processes or belongs to another namespace, a reused pid, no clock."""

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
    """Return whether ``unshare`` works here with these flags."""
    unshare = shutil.which("unshare")
    return unshare is not None and subprocess.run([unshare, *flags, "true"], capture_output=True).returncode == 0  # noqa: PLW1510  a failure is an answer


finds_itself = pytest.mark.skipif(BINARY is not None, reason="the bootloader needs /proc to find itself")
namespaces = pytest.mark.skipif(not can("-m"), reason="a mount namespace cannot be made here")


def within(script: str) -> tuple[str, ...]:
    """Return a command prefix: a new mount namespace in which the script has run."""
    return ("unshare", "-m", "sh", "-c", f'{script} && exec "$@"', "sh")


def serves(it: Direct, *kinds: str) -> None:
    """Start each service, stop it, and start it again, without an error."""
    services: Message = {kind: service(kind) for kind in kinds}
    it.serve(services)
    for kind in kinds:
        it.roll.await_living(kind, SIZES[kind])
        it.client.call("stop", service=kind)
        it.roll.await_dead(kind)
        it.client.call("start", service=kind)
        it.roll.await_living(kind, SIZES[kind])


def ends(it: Direct) -> str:
    """Close stdin, and wait for the end; return what the sidecar wrote to stderr."""
    it.let_go(it.stdin)
    assert it.exit_code() == 3
    said = it.stderr.read_text()
    assert "Traceback" not in said
    return said


# ── the disk ──────────────────────────────────────────────────────────────────────────────────────────────────────────

DISKS = {
    "full": ("size=4k,nr_inodes=1", "No space left on device"),
    "read-only": ("ro", "Read-only file system"),
}


@namespaces
@pytest.mark.parametrize(("options", "reason"), DISKS.values(), ids=DISKS)
def test_services_run_though_the_state_folder_takes_no_file(tmp_path: Path, options: str, reason: str) -> None:
    state = tmp_path / "state"
    state.mkdir()
    with Direct(tmp_path, prefix=within(f"mount -t tmpfs -o {options} none '{state}'")) as it:
        serves(it, "plain", "daemon")
        [problem] = [text for text in it.client.note("supervisor/swept")["problems"] if "no record" in text]
        assert reason in problem
        assert reason in ends(it)


@namespaces
def test_a_disk_that_fills_up_later_costs_only_what_ps_would_show(tmp_path: Path) -> None:
    """The disk has one page: enough for the first record, but not for a longer new version beside it."""
    state = tmp_path / "state"
    state.mkdir()
    with Direct(tmp_path, prefix=within(f"mount -t tmpfs -o size=4k none '{state}'")) as it:
        serves(it, "plain")
        until(lambda: "out of date" in it.stderr.read_text(), "the warning")
        assert "No space left on device" in ends(it)


@namespaces
def test_full_disk_leaves_no_part_of_a_remembered_port(tmp_path: Path) -> None:
    """The file can be created, as there is an inode, but nothing can be written to it."""
    state = tmp_path / "state"
    state.mkdir()
    with Direct(tmp_path, prefix=within(f"mount -t tmpfs -o size=4k none '{state}'")) as it:
        it.serve({"listener": service("listener", port={"sticky": True})})
        until(lambda: "could not be remembered: " in it.stderr.read_text(), "the warning")
        seen = Path(f"/proc/{it.process.pid}/root{state}")  # it is mounted only in that namespace
        assert sorted(path.name for path in seen.iterdir()) == ["logs", "runs"]
        assert "No space left on device" in ends(it)


@pytest.mark.skipif(BINARY is not None, reason="the files that the bootloader unpacks are larger")
def test_a_limit_on_files_is_said_and_the_services_run(tmp_path: Path) -> None:
    """SIGXFSZ, which the kernel sends at the limit, kills a program that does not ignore it."""
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
    """With hidepid=2, /proc still shows the processes of our own user, such as a daemon that left its group."""
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
        until(lambda: not marked(it.roll.name), "the end of all processes with the roll call in their environment")


@namespaces
@only_root
def test_a_living_one_that_is_hidden_from_its_own_user_is_not_taken_for_dead() -> None:
    """If an undumpable process, such as a key agent, were taken for dead, its run and its group would be swept."""
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
    """Return the command lines of all processes with the roll call in their environment."""
    found = []
    for pid in marked(roll.name):
        try:
            found.append(Path(f"/proc/{pid}/cmdline").read_text().replace("\0", " ").strip())
        except (FileNotFoundError, ProcessLookupError):
            continue  # it has ended since the listing
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
    """The socket's owner cannot be read there. It is enough that the port was free when it was chosen."""
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
def test_another_namespaces_proc_is_not_used_to_find_our_processes(tmp_path: Path) -> None:
    """Our pids belong to other processes in that /proc. Taking those for ours would kill everything below them."""
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
    not can("--pid", "--fork", "--mount-proc"), reason="a pid namespace with its own /proc cannot be made here"
)
def test_a_reused_pid_is_neither_signalled_nor_swept(tmp_path: Path) -> None:
    """A real reuse, in a pid namespace whose next pid the test sets."""
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


@pytest.mark.skipif(BINARY is not None, reason="only Python code can be run without its clock")
def test_the_sidecar_never_reads_the_time_of_day(tmp_path: Path) -> None:
    """The time of day jumps when a laptop wakes or a user sets it. Here each call that asks for it fails."""
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
