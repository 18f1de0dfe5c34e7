"""What Windows' host does beyond the common contract."""

from __future__ import annotations

import ctypes
import errno
import os
import queue
import socket
import subprocess
import sys
import sysconfig
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import pytest

if sys.platform != "win32":
    pytest.skip("Windows' own", allow_module_level=True)

import psutil

from sidecar.core.events import Launch
from sidecar.host import frozen, machine
from sidecar.host.base import FOREIGN, NOBODY, UNKNOWN, Claim, Host
from sidecar.host.windows import host as windows
from sidecar.host.windows import job, processes, winapi
from sidecar.services import ports
from sidecar.state import run_record
from tests.windows.support import CHILDREN, OWNERS_UNNAMED, PYTHON, UNDER_WINE, WAIT_S


def wish(port: int) -> ports.PortRequest:
    return ports.PortRequest(host="127.0.0.1", preferred=port, current=None, last=lambda: None, keep=True)


def test_a_program_gets_no_handle_but_its_three_pipes() -> None:
    """Otherwise the program would hold each inheritable handle of ours, such as one that a library made."""
    host = windows.WindowsHost("a" * 32, parent_watched=False, child_died=lambda: None)
    reader, writer = os.pipe()
    os.set_inheritable(writer, True)
    try:
        child = host.spawn("it", Launch((*PYTHON, str(CHILDREN / "program.py"), "print:up", "hold"), "/", {}))
        assert os.read(child.stdout, 1) == b"u"  # the program runs
        os.close(writer)
        found: queue.SimpleQueue[bytes] = queue.SimpleQueue()
        threading.Thread(target=lambda: found.put(os.read(reader, 1)), daemon=True).start()
        assert found.get(timeout=WAIT_S) == b"", "the program must not hold the pipe's write end"
        assert host.reap() == []
    finally:
        host.kill_all()
    for fd in (child.stdout, child.stderr, reader):
        os.close(fd)


def test_a_port_that_somebody_listens_on_is_not_taken_from_him() -> None:
    """On Windows SO_REUSEADDR would steal it."""
    with socket.socket() as stranger:
        stranger.bind(("127.0.0.1", 0))
        stranger.listen()
        port = int(stranger.getsockname()[1])
        assert ports.refusal(port, ports.EVERYWHERE) is not None
    assert ports.refusal(port, ports.EVERYWHERE) is None


def test_a_chosen_port_is_not_held_as_the_program_could_not_listen_then() -> None:
    book = ports.PortAllocator(lambda _: None)
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        port = int(sock.getsockname()[1])
    assert book.choose("web", wish(port)).port == port
    with socket.create_server(("127.0.0.1", port)):
        pass


def test_an_excluded_port_has_no_holding_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """Windows refuses the bind with WSAEACCES, which Python reports as EACCES."""
    real = ports.bind

    def bind(family: socket.AddressFamily, address: str, port: int) -> socket.socket:
        if port == 50_000:
            raise OSError(errno.EACCES, "forbidden")
        return real(family, address, port)

    monkeypatch.setattr(ports, "bind", bind)
    endpoint = ports.PortAllocator(lambda _: None).choose("web", wish(50_000))
    assert endpoint.port != 50_000
    assert endpoint.holder is not None
    assert endpoint.holder.pid is None
    assert "excluded range" in (endpoint.holder.command or "")


@pytest.fixture
def program() -> Iterator[tuple[Host, int]]:
    """A host that runs a service ``web``, and the pid of its program."""
    host = windows.WindowsHost("a" * 32, parent_watched=False, child_died=lambda: None)
    child = host.spawn("web", Launch((*PYTHON, str(CHILDREN / "program.py"), "hold"), "/", {}))
    yield host, child.pid
    host.kill_all()
    for fd in (child.stdout, child.stderr):
        os.close(fd)


NO_PID = 0x7FFF_FFFC
"""A pid that no process has: Windows gives small ones."""


@pytest.fixture
def dead() -> int:
    """The pid of a process that has ended."""
    with subprocess.Popen([*PYTHON, "-c", ""]) as process:
        pass
    return process.pid


@pytest.mark.parametrize(
    ("owners", "owner", "listening"),
    [
        (["program"], "ours", (("127.0.0.1", 4000), ("::1", 4001))),
        (["us"], "foreign", ()),
        (["program", "us"], "foreign", (("127.0.0.1", 4000), ("::1", 4001))),
        (["nameless"], "unknown", None),
        (["dead"], "unknown", None),
        (["forgotten"], "unknown", None),
        (["program", "nameless"], "unknown", (("127.0.0.1", 4000), ("::1", 4001))),
        ([], "foreign", ()),
    ],
)
def test_sockets_are_judged_by_the_pids_of_the_tables(
    program: tuple[Host, int],
    dead: int,
    monkeypatch: pytest.MonkeyPatch,
    owners: list[str],
    owner: str,
    listening: object,
) -> None:
    """A dead owner may have passed the socket on, and Wine names no owner. Neither proves that it is not ours."""
    host, pid = program
    pids = {"program": pid, "us": os.getpid(), "nameless": 0, "dead": dead, "forgotten": NO_PID}
    rows = [row for it in owners for row in (("::1", 4001, pids[it]), ("127.0.0.1", 4000, pids[it]))]
    monkeypatch.setattr(winapi, "listeners", lambda: rows)
    assert host.owns("web", "127.0.0.1", 4000) == owner
    assert host.owns("web", "127.0.0.1", 4001) == "foreign"
    claim = {"ours": Claim("service", "web"), "unknown": UNKNOWN}.get(owner, FOREIGN)
    assert host.owner_of("127.0.0.1", 4000) == (claim if owners else NOBODY)
    assert host.owner_of("127.0.0.1", 4001) == NOBODY
    assert host.listening("web") == listening


def test_tables_that_cannot_be_read_prove_nothing(program: tuple[Host, int], monkeypatch: pytest.MonkeyPatch) -> None:
    host, _ = program
    monkeypatch.setattr(winapi, "listeners", Mock(side_effect=PermissionError(errno.EACCES, "denied")))
    assert host.owns("web", "127.0.0.1", 4000) == "unknown"
    assert host.owner_of("127.0.0.1", 4000) == UNKNOWN
    assert host.listening("web") is None
    monkeypatch.setattr(winapi, "listeners", Mock(side_effect=OSError(errno.ENOMEM, "no memory")))
    with pytest.raises(OSError, match="no memory"):
        host.owns("web", "127.0.0.1", 4000)
    assert host.listening("web") is None


def test_a_system_without_IPv6_has_the_listeners_of_IPv4(monkeypatch: pytest.MonkeyPatch) -> None:
    real = winapi._iphlpapi.GetExtendedTcpTable

    def ask(buffer: object, size: object, order: int, family: int, kind: int, reserved: int) -> int:
        if family == socket.AF_INET6:
            return winapi.ERROR_NOT_SUPPORTED
        return int(real(buffer, size, order, family, kind, reserved))

    monkeypatch.setattr(winapi, "_iphlpapi", Mock(GetExtendedTcpTable=ask))
    with socket.create_server(("127.0.0.1", 0)) as server:
        found = [it[:2] for it in winapi.listeners()]
        assert server.getsockname()[:2] in found
        assert not [at for at, _ in found if ":" in at]


def test_a_socket_that_probes_is_told_not_to_repeat_a_refused_connect(monkeypatch: pytest.MonkeyPatch) -> None:
    """Windows repeats it for 2 s. The test checks the bytes of the ioctl that forbids that."""
    told: list[tuple[int, int, bytes]] = []

    def control(sock: int, code: int, data: Any, size: int, *_: object) -> int:
        told.append((sock, code, ctypes.string_at(ctypes.cast(data, ctypes.c_void_p), size)))
        return 0

    monkeypatch.setattr(winapi, "_ws2_32", Mock(WSAIoctl=control))
    with socket.socket() as sock:
        winapi.fail_at_once(sock)
        assert told == [(sock.fileno(), 0x98000011, b"\xff\xff\xfe\x00")]


def test_a_windows_without_that_option_probes_all_the_same() -> None:
    """Such as Wine."""
    with socket.create_server(("127.0.0.1", 0)) as server, socket.socket() as sock:
        winapi.fail_at_once(sock)
        sock.connect(server.getsockname())


def test_state_folders_get_no_access_list_of_their_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Since 3.12.4, Python turns the mode 0o700 into one. After a first run as administrator it locks the user out."""
    modes: list[int] = []
    real = os.mkdir

    def mkdir(path: str, mode: int = 0o777) -> None:
        modes.append(mode)
        real(path, mode)

    monkeypatch.setenv(run_record.STATE_DIR, str(tmp_path / "made" / "state"))
    monkeypatch.setattr(os, "mkdir", mkdir)
    monkeypatch.setattr(os, "chmod", Mock(side_effect=AssertionError("chmod would set an access list")))
    assert Path(run_record.state_folder("runs")).is_dir()
    assert modes == [0o777] * 3


@pytest.mark.skipif(not OWNERS_UNNAMED, reason="this system names the owners of sockets")
def test_a_listener_that_Wine_names_no_owner_of_may_be_ours() -> None:
    host = windows.WindowsHost("a" * 32, parent_watched=False, child_died=lambda: None)
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        port = int(sock.getsockname()[1])
    words = (f"grandchild:127.0.0.1={port}", "print:up", "hold")
    child = host.spawn("web", Launch((*PYTHON, str(CHILDREN / "program.py"), *words), "/", {}))
    try:
        assert os.read(child.stdout, 1) == b"u"
        socket.create_connection(("127.0.0.1", port)).close()
        assert host.owns("web", "127.0.0.1", port) == "unknown"
        assert host.listening("web") is None
    finally:
        host.kill_all()
    for fd in (child.stdout, child.stderr):
        os.close(fd)


@pytest.mark.skipif(OWNERS_UNNAMED, reason="this Wine's socket table names no owners")
def test_the_owner_of_a_socket_is_the_process_that_listens() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        assert ("127.0.0.1", server.getsockname()[1], os.getpid()) in winapi.listeners()


def test_where_no_job_can_be_had_a_tree_is_walked(monkeypatch: pytest.MonkeyPatch) -> None:
    """For example, inside a job of another program that allows no nested jobs."""

    def refuse(*_: object) -> None:
        raise PermissionError(errno.EACCES, "refused")

    monkeypatch.setattr(winapi, "assign", refuse)
    deaths: queue.SimpleQueue[None] = queue.SimpleQueue()
    host = windows.WindowsHost("a" * 32, parent_watched=False, child_died=lambda: deaths.put(None))
    assert not host.guarantees().job_object
    script = str(Path(CHILDREN) / "program.py")
    words = ("ignore:SIGTERM", "child", "child", "print:up", "hold")
    child = host.spawn("it", Launch((*PYTHON, script, *words), "/", {}))
    data = b""
    while data.count(b"up") < 4:
        data += os.read(child.stdout, 64)
    assert host.memory("it")
    host.kill("it")
    deaths.get(timeout=WAIT_S)
    [ended] = host.reap()
    assert ended.signal == "SIGKILL"
    while os.read(child.stdout, 64):
        pass  # EOF comes when all four processes are dead
    os.close(child.stdout)
    os.close(child.stderr)


def test_taskkill_is_used_if_we_may_not_terminate_a_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """As for another user's process, its handle does not let us terminate it. The real taskkill runs, with its pid."""
    refuse = Mock(side_effect=psutil.AccessDenied)
    monkeypatch.setattr(psutil.Process, "kill", refuse)
    monkeypatch.setattr(job, "terminate", lambda process: None)
    run = Mock(wraps=subprocess.run)
    monkeypatch.setattr(subprocess, "run", run)
    with subprocess.Popen([*PYTHON, "-c", "import sys; sys.stdin.read()"], stdin=subprocess.PIPE) as stranger:
        try:
            handle = processes.open_process(stranger.pid)
            assert handle is not None
            it = job.Tree(stranger.pid, handle, None, None)
            job.strike(it)
            job.close(it)
            [command] = [call.args[0] for call in run.call_args_list]
            assert Path(command[0]).is_file()
            assert command[1:] == ["/T", "/F", "/PID", str(stranger.pid)]
            if not UNDER_WINE:  # Wine's taskkill has no /T
                assert stranger.wait(WAIT_S) != 0
        finally:
            stranger.terminate()


def test_the_folder_where_a_bootloader_has_libraries_looked_for_is_forgotten(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Our children would inherit it. They do not under Wine, so this test checks our own setting."""
    kernel32 = ctypes.WinDLL("kernel32")
    room = ctypes.create_unicode_buffer(1000)
    kernel32.SetDllDirectoryW(ctypes.c_wchar_p(str(tmp_path)))
    assert kernel32.GetDllDirectoryW(len(room), room) == len(str(tmp_path))
    monkeypatch.setattr(sys, "frozen", True, raising=False)
    frozen.forget_variables()
    assert kernel32.GetDllDirectoryW(len(room), room) == 0


RUST = {"win-amd64": "x86_64", "win-arm64": "aarch64", "win32": "i686"}
"""Rust's name of the architecture, by Python's name of its platform."""


@pytest.mark.parametrize(
    "words",
    [
        "3.12.8 (tags/v3.12.8:2dc476b, Dec  3 2024, 19:30:04) [MSC v.1942 64 bit (AMD64)]",
        "3.13.1 (tags/v3.13.1:0671451, Dec  3 2024, 19:06:28) [MSC v.1942 64 bit (ARM64)]",
        "3.11.9 (tags/v3.11.9:de54cf5, Apr  2 2024, 10:12:12) [MSC v.1938 32 bit (Intel)]",
    ],
)
def test_windows_binaries_are_named_by_pythons_own_platform(words: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Windows on ARM also runs a Python for x86_64, but reports ARM64 as the machine."""
    monkeypatch.setattr(sys, "version", words)
    monkeypatch.setenv("PROCESSOR_ARCHITECTURE", "ARM64")
    assert machine.architecture() == RUST[sysconfig.get_platform()]
