"""Other users, a child's output and planted files cannot make the sidecar harm processes or leak secrets."""

from __future__ import annotations

import json
import os
import stat
import subprocess
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest

if sys.platform != "linux":
    pytest.skip("pidfds, control groups and /proc", allow_module_level=True)

from sidecar.host.linux import orphans, processes
from tests.faults.cell import ROOT, Cell, service
from tests.faults.cell import tree as command_of
from tests.faults.direct import Direct, program
from tests.faults.test_system_limits import only_root
from tests.support.client import Client
from tests.support.command import SIDECAR, Message, Refused
from tests.support.liveness import RollCall, control_group
from tests.support.waiting import WAIT_S

OTHER_USER = 54321
SECRET = "hunter2-in-the-open"  # noqa: S105  made up; the tests search the sidecar's output for it
DEAD_PID = 1 << 22
"""No process has this pid: the kernel's limit is below it."""


# ── planted files in the state folder ─────────────────────────────────────────────────────────────────────────────────


class Bystander:
    """A process that the sidecar must not touch, and the state folder of a sidecar to start."""

    def __init__(self, folder: Path, roll: RollCall) -> None:
        self.state = folder / "state"
        self.runs = self.state / "runs"
        self.runs.mkdir(parents=True, mode=0o700)
        self.process = subprocess.Popen(
            command_of("decoy"), env={**os.environ, **roll.env}, stdin=subprocess.DEVNULL, start_new_session=True
        )
        roll.await_member(self.process.pid, "the bystander")
        found = processes.read_process(self.process.pid)
        assert found is not None
        self.start = found.start

    def record(self, **fields: object) -> str:
        """Return a forged record of a dead run."""
        dead = [{"pid": DEAD_PID, "start": 1}]
        return json.dumps(
            {
                "version": 1,
                "runId": "e" * 32,
                "bootId": orphans.boot_id(),
                "owners": dead,
                "pidNamespace": None,
                **fields,
            }
        )


def names_its_pid(it: Bystander) -> None:
    victim = {"pid": it.process.pid, "start": it.start}
    services = {"web": {"state": "ready", "host": "127.0.0.1", "port": 1, "process": victim}}
    (it.runs / "planted.json").write_text(it.record(app=victim, services=services))


def names_a_folder_that_looks_like_a_group(it: Bystander) -> None:
    fake = it.state / f"tauri-sidecar-{processes.pid_namespace()}-{DEAD_PID}-1"
    fake.mkdir()
    (fake / "cgroup.procs").write_text(f"{it.process.pid}\n")
    (fake / "cgroup.kill").write_text("untouched")
    (it.runs / "planted.json").write_text(it.record(group=str(fake)))


def names_such_a_folder_by_a_way_around(it: Bystander) -> None:
    names_a_folder_that_looks_like_a_group(it)
    [fake] = it.state.glob("tauri-sidecar-*")
    around = f"/sys/fs/cgroup/../../..{fake}"
    (it.runs / "planted.json").write_text(it.record(group=around))


def is_a_link(it: Bystander) -> None:
    elsewhere = it.state / "precious"
    elsewhere.write_text(it.record())
    (it.runs / "planted.json").symlink_to(elsewhere)


def is_a_link_without_end(it: Bystander) -> None:
    (it.runs / "planted.json").symlink_to("/dev/zero")


def is_a_pipe_that_nobody_writes_to(it: Bystander) -> None:
    os.mkfifo(it.runs / "planted.json")


def is_huge(it: Bystander) -> None:
    with (it.runs / "planted.json").open("wb") as file:
        file.truncate(1 << 40)


def is_another_users(it: Bystander) -> None:
    path = it.runs / "planted.json"
    path.write_text(it.record())
    os.chown(path, OTHER_USER, OTHER_USER)


def is_of_a_version_to_come(it: Bystander) -> None:
    (it.runs / "planted.json").write_text(it.record(version=2, owners=[], kill=[it.process.pid]))


PLANTED: list[Callable[[Bystander], None]] = [
    names_its_pid,
    names_a_folder_that_looks_like_a_group,
    names_such_a_folder_by_a_way_around,
    is_a_link,
    is_a_link_without_end,
    is_a_pipe_that_nobody_writes_to,
    is_huge,
    is_of_a_version_to_come,
]


def starts_beside(it: Bystander, folder: Path, roll: RollCall) -> Message:
    """Start a sidecar that reads the planted files; return its report. Assert that the bystander is unharmed."""
    with Cell(folder, ("plain",)) as cell:
        cell.grow()  # a service starts only after the sweep
        told = [it for it in cell.client.notes("supervisor/swept") if it["problems"] or it["records"]]
        roll.prove_alive("decoy")
    for kill in it.state.glob("*/cgroup.kill"):
        assert kill.read_text() == "untouched"
    assert len(told) == 1
    return told[0]


@pytest.mark.parametrize("plant", PLANTED, ids=lambda it: it.__name__)
def test_a_planted_record_ends_nothing_and_stops_no_start(tmp_path: Path, plant: Callable[[Bystander], None]) -> None:
    with RollCall() as roll:
        it = Bystander(tmp_path, roll)
        try:
            plant(it)
            told = starts_beside(it, tmp_path, roll)
            assert told["processes"] == []
            assert told["groups"] == 0
            assert not (it.runs / "planted.json").exists()
            if plant is is_a_link:
                assert (it.state / "precious").exists()
        finally:
            it.process.kill()
            it.process.wait()


@only_root
def test_another_users_record_ends_nothing_and_stops_no_start(tmp_path: Path) -> None:
    test_a_planted_record_ends_nothing_and_stops_no_start(tmp_path, is_another_users)


@only_root
@pytest.mark.parametrize("name", ["", "runs"])
def test_a_folder_of_another_user_is_not_used_and_that_is_said(tmp_path: Path, name: str) -> None:
    (tmp_path / "state" / "runs").mkdir(parents=True)
    os.chown(tmp_path / "state" / name, OTHER_USER, OTHER_USER)
    with Direct(tmp_path) as it:
        it.serve({"plain": service("plain")})
        assert any("another user" in text for text in it.client.note("supervisor/swept")["problems"])
        it.let_go(it.stdin)
        assert it.exit_code() == 3
    assert list((tmp_path / "state" / "runs").iterdir()) == []


def test_what_it_writes_is_for_this_user_only_however_open_the_folder_was(tmp_path: Path) -> None:
    (tmp_path / "state" / "runs").mkdir(parents=True)
    for folder in (tmp_path / "state", tmp_path / "state" / "runs"):
        folder.chmod(0o777)
    with Direct(tmp_path) as it:
        it.serve({"plain": service("plain")})
        paths = [tmp_path / "state", *(tmp_path / "state").rglob("*")]
        modes = {stat.S_IMODE(path.lstat().st_mode) for path in paths if path.suffix != ".tmp"}
        assert modes == {0o700, 0o600}


# ── secrets ───────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_no_value_of_an_environment_is_in_anything_that_is_written(tmp_path: Path) -> None:
    """It appears neither in messages to the client, on stderr and in the state folder, nor in ps, clean and doctor."""
    env = {"TOKEN": SECRET}
    filled = {**env, "ALSO": f"{{port}}-{SECRET}"}
    services = {
        "good": {**service("plain"), "env": env},
        "listens": {**program("listen:127.0.0.1={port}", "hold"), "env": filled, "port": {"sticky": False}},
        "missing": {"type": "command", "command": ["/nowhere/program"], "env": env},
        "refused": {"type": "command", "command": ["/etc/passwd"], "env": env},
        "dying": {**program("print:bye", "exit:3"), "env": env},
        "vite": {"type": "vite", "root": str(tmp_path), "env": env},
    }
    with Direct(tmp_path, "--log-level", "debug") as it:
        it.client.hello(services)
        for name in services:
            try:
                it.client.call("start", service=name)
            except Refused:
                continue
        it.client.call("status")
        for command in (
            ["ps", "--json"],
            ["ps"],
            ["clean", "--dry-run", "--json"],
            ["doctor", "--json", str(tmp_path)],
        ):
            said = subprocess.run(
                [*SIDECAR, *command],
                cwd=ROOT,
                env={**os.environ, "SIDECAR_STATE_DIR": str(tmp_path / "state"), "OWN_TOKEN": SECRET},
                capture_output=True,
                timeout=WAIT_S,
                check=False,
            )
            assert said.stdout
            assert SECRET.encode() not in said.stdout + said.stderr
        kept = b"".join(path.read_bytes() for path in (tmp_path / "state").rglob("*") if path.suffix == ".json")
        assert b"listens" in kept
        it.let_go(it.stdin)
        it.exit_code()
        assert SECRET not in json.dumps(it.client.said)
        assert SECRET.encode() not in kept + it.stderr.read_bytes()


WRONG_ENV: list[object] = [
    {"TOKEN": f"{SECRET}\0"},
    {"TOKEN": [SECRET]},
    {"A": SECRET, "B=": SECRET},
    {"": SECRET},
    [SECRET],
    SECRET,
]


@pytest.mark.parametrize("env", WRONG_ENV)
def test_no_value_of_a_refused_environment_is_written(tmp_path: Path, env: object) -> None:
    with Direct(tmp_path, "--log-level", "debug") as it:
        for kind in ({"type": "vite"}, {"type": "command", "command": ["x"]}):
            with pytest.raises(Refused) as refused:
                it.client.hello({"web": {**kind, "env": env}})
            assert refused.value.kind == "InvalidParams"
        it.let_go(it.stdin)
        it.exit_code()
        assert SECRET not in json.dumps(it.client.said)
        assert SECRET not in it.stderr.read_text()


# ── a child's output is never the protocol ────────────────────────────────────────────────────────────────────────────

FORGED = json.dumps({"jsonrpc": "2.0", "id": 2, "result": {"forged": True}})

LOUD = rf"""
import os
for fd in (1, 2):
    os.write(fd, {FORGED!r}.encode() + b"\n")
    os.write(fd, b'\n{{"jsonrpc":"2.0","method":"service/ready","params":{{"service":"forged"}}}}\r\n')
    os.write(fd, b"\r\r\n\x00\x07\x1b]0;title\x07\x1b[2J\xff\xfe \xe2\x80\xa8 \xc2\x85 next\n")
    os.write(fd, b"x" * 1_500_000 + b"\n")
os.write(1, ("fds " + " ".join(sorted(os.listdir("/proc/self/fd"), key=int))).encode() + b"\n")
for fd in (0, 1, 2):
    os.write(1, ("target " + os.readlink(f"/proc/self/fd/{{fd}}")).encode() + b"\n")
os.write(1, b"out is done\n")
os.write(2, b"err is done\n")
os.read(0, 1)
"""


def test_child_can_write_only_to_its_log_and_has_no_descriptor_of_ours(tmp_path: Path) -> None:
    command = [sys.executable, "-I", "-S", "-c", LOUD]
    with Direct(tmp_path) as it:
        it.serve({"loud": {"type": "command", "command": command, "restart": {"policy": "never"}}})
        it.client.printed("loud", "out is done")
        it.client.printed("loud", "err is done")
        it.client.call("status")
        supervisor = it.client.said[0]["result"]["pid"]
        own = open_files(supervisor) | open_files(it.process.pid)
        lines = [line for note in it.client.notes("service/log") for line in note["lines"]]
        assert lines.count(FORGED) == 2
        assert not any(message.get("result", {}).get("forged") for message in it.client.said)
        assert all(
            message["method"] != "service/ready" or message["params"]["service"] == "loud" for message in notes(it)
        )
        # less than is kept for a slow client, so nothing is dropped
        assert sum(len(line) for line in lines) >= 3_000_000
        # the listing itself has one more open; the three are pipes, and none of them is the client's
        assert "fds 0 1 2 3" in lines
        targets = [line.removeprefix("target ") for line in lines if line.startswith("target ")]
        protocol = {os.readlink(f"/proc/self/fd/{fd}") for fd in (it.stdin, it.stdout)}
        assert len(targets) == 3
        assert all(target.startswith("pipe:") for target in targets)
        assert not set(targets) & protocol
        assert protocol <= own


def open_files(pid: int) -> set[str]:
    found = set()
    for fd in os.listdir(f"/proc/{pid}/fd"):
        with suppress(FileNotFoundError):  # closed since the listing
            found.add(os.readlink(f"/proc/{pid}/fd/{fd}"))
    return found


def notes(it: Direct) -> list[Message]:
    return [message for message in it.client.said if "method" in message]


def test_its_name_cannot_draw_on_our_stderr(tmp_path: Path) -> None:
    state = tmp_path / "odd \x1b[2J\r\n name"
    state.write_text("no folder")
    inward, stdin = os.pipe()
    stdout, outward = os.pipe()
    with control_group(divisible=False):
        process = subprocess.Popen(
            SIDECAR,
            cwd=ROOT,
            env={**os.environ, "SIDECAR_STATE_DIR": str(state)},
            stdin=inward,
            stdout=outward,
            stderr=subprocess.PIPE,
        )
        os.close(inward)
        os.close(outward)
        try:
            client = Client(stdin, stdout)
            client.hello({})
            client.note("supervisor/swept")
        finally:
            os.close(stdin)
            _, said = process.communicate(timeout=WAIT_S)
            os.close(stdout)
    assert b"\\x1b[2J" in said
    assert b"\x1b" not in said
    assert b"\r" not in said
