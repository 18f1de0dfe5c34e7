"""What the host of Windows does beyond the contract of every host."""

from __future__ import annotations

import ctypes
import errno
import os
import queue
import socket
import subprocess
import sys
import threading
from pathlib import Path
from unittest.mock import Mock

import pytest

if sys.platform != "win32":
    pytest.skip("Windows' own", allow_module_level=True)

import psutil

from sidecar.events import Launch
from sidecar.host import bundle, ports
from sidecar.host.windows import host as windows
from sidecar.host.windows import processes, tree, winapi
from tests.windows.support import CHILDREN, PYTHON, UNDER_WINE, WAIT_S


def wish(port: int) -> ports.Wish:
    return ports.Wish(host="127.0.0.1", preferred=port, current=None, last=lambda: None, keep=True)


def test_a_program_gets_no_handle_but_its_three_pipes() -> None:
    """An inheritable one of ours, such as a library may have made, would else be held by the program."""
    host = windows.WindowsHost("a" * 32, parent_watched=False, child_died=lambda: None)
    reader, writer = os.pipe()
    os.set_inheritable(writer, True)
    try:
        child = host.spawn("it", Launch((*PYTHON, str(CHILDREN / "program.py"), "print:up", "hold"), "/", {}))
        assert os.read(child.stdout, 1) == b"u"  # it runs
        os.close(writer)
        found: queue.SimpleQueue[bytes] = queue.SimpleQueue()
        threading.Thread(target=lambda: found.put(os.read(reader, 1)), daemon=True).start()
        assert found.get(timeout=WAIT_S) == b"", "the end, while it lives"
        assert host.reap() == []
    finally:
        host.kill_all()
    for fd in (child.stdout, child.stderr, reader):
        os.close(fd)


def test_a_port_that_somebody_listens_on_is_not_taken_from_him() -> None:
    """SO_REUSEADDR would do that here."""
    with socket.socket() as stranger:
        stranger.bind(("127.0.0.1", 0))
        stranger.listen()
        port = int(stranger.getsockname()[1])
        assert ports.refusal(port, ports.EVERYWHERE) is not None
    assert ports.refusal(port, ports.EVERYWHERE) is None


def test_a_chosen_port_is_not_held_as_the_program_could_not_listen_then() -> None:
    book = ports.PortBook(lambda _: None)
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        port = int(sock.getsockname()[1])
    assert book.choose("web", wish(port)).port == port
    with socket.create_server(("127.0.0.1", port)):
        pass


def test_an_excluded_port_is_held_by_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    """Windows refuses the bind with WSAEACCES, for which Python has this errno."""
    real = ports.bind

    def bind(family: socket.AddressFamily, address: str, port: int) -> socket.socket:
        if port == 50_000:
            raise OSError(errno.EACCES, "forbidden")
        return real(family, address, port)

    monkeypatch.setattr(ports, "bind", bind)
    endpoint = ports.PortBook(lambda _: None).choose("web", wish(50_000))
    assert endpoint.port != 50_000
    assert endpoint.holder is not None
    assert endpoint.holder.pid is None
    assert "excluded range" in (endpoint.holder.command or "")


@pytest.mark.skipif(UNDER_WINE, reason="Wine's table of sockets names no owner")
def test_the_owner_of_a_socket_is_the_process_that_listens() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        assert ("127.0.0.1", server.getsockname()[1], os.getpid()) in winapi.listeners()


def test_where_no_job_can_be_had_a_tree_is_walked(monkeypatch: pytest.MonkeyPatch) -> None:
    """As in a job of somebody else's that allows none within."""

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
        pass  # its end comes when all four are dead
    os.close(child.stdout)
    os.close(child.stderr)


def test_whom_we_may_not_end_the_systems_own_tool_is_asked_to(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its handle refuses us, as another user's does; the tool is run as it is, and by its number."""
    refuse = Mock(side_effect=psutil.AccessDenied)
    monkeypatch.setattr(psutil.Process, "kill", refuse)
    monkeypatch.setattr(tree, "terminate", lambda process: None)
    run = Mock(wraps=subprocess.run)
    monkeypatch.setattr(subprocess, "run", run)
    with subprocess.Popen([*PYTHON, "-c", "import time; time.sleep(100)"]) as stranger:
        try:
            handle = processes.open_process(stranger.pid)
            assert handle is not None
            it = tree.Tree(stranger.pid, handle, None, None)
            tree.strike(it)
            tree.close(it)
            [command] = [call.args[0] for call in run.call_args_list]
            assert Path(command[0]).is_file()
            assert command[1:] == ["/T", "/F", "/PID", str(stranger.pid)]
            if not UNDER_WINE:  # whose taskkill knows no /T
                assert stranger.wait(WAIT_S) != 0
        finally:
            stranger.terminate()


def test_the_folder_where_a_bootloader_has_libraries_looked_for_is_forgotten(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Programs that we start would inherit it (not under Wine, so that only our own is looked at here)."""
    kernel32 = ctypes.WinDLL("kernel32")
    room = ctypes.create_unicode_buffer(1000)
    kernel32.SetDllDirectoryW(ctypes.c_wchar_p(str(tmp_path)))
    assert kernel32.GetDllDirectoryW(len(room), room) == len(str(tmp_path))
    monkeypatch.setattr(sys, "frozen", True, raising=False)
    bundle.forget_variables()
    assert kernel32.GetDllDirectoryW(len(room), room) == 0
