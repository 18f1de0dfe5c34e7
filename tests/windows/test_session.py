"""A log-off and a shutdown, which Windows announces by messages to a window."""

from __future__ import annotations

import ctypes
import signal
import sys
import threading
import time
from pathlib import Path

import pytest

if sys.platform != "win32":
    pytest.skip("Windows' own", allow_module_level=True)

from ctypes import wintypes

from sidecar.host import frozen
from sidecar.host.windows import logoff, session
from tests.support.command import BINARY
from tests.windows.support import WAIT_S, Direct, await_end, held, program
from tests.windows.test_commands import until

TRIES = 3

user32 = ctypes.WinDLL("user32", use_last_error=True)
user32.FindWindowExW.restype = wintypes.HWND
user32.FindWindowExW.argtypes = (wintypes.HWND, wintypes.HWND, wintypes.LPCWSTR, wintypes.LPCWSTR)
user32.SendMessageTimeoutW.restype = wintypes.LPARAM
user32.SendMessageTimeoutW.argtypes = (
    *(wintypes.HWND, wintypes.UINT, wintypes.WPARAM, wintypes.LPARAM),
    *(wintypes.UINT, wintypes.UINT, ctypes.POINTER(ctypes.c_size_t)),
)


BOOTLOADERS_CLASS = "PyInstallerOnefileHiddenWindow"


def window_of(pid: int, kind: str = logoff.CLASS) -> int | None:
    """Return the process's top-level window of that class."""
    window, owner = None, wintypes.DWORD()
    while window := user32.FindWindowExW(None, window, kind, None):
        user32.GetWindowThreadProcessId(window, ctypes.byref(owner))
        if owner.value == pid:
            return int(window)
    return None


def tell(window: int, message: int, word: int) -> int | None:
    """Send a message; return the window's answer, or ``None`` if its process ends first."""
    answer = ctypes.c_size_t()
    sent = user32.SendMessageTimeoutW(window, message, word, 0, 0, int(WAIT_S * 1000), ctypes.byref(answer))
    return answer.value if sent else None


def test_the_end_of_the_session_ends_it_gracefully_and_leaves_no_record(tmp_path: Path) -> None:
    with Direct(tmp_path) as it:
        pid = it.client.hello({"web": program("report:SIGTERM", "print:up", "hold")})["pid"]
        it.client.call("start", service="web")
        it.client.printed("web", "up")
        window = until(lambda: window_of(pid), "a window")
        supervisor = held(pid)

        assert tell(window, logoff.WM_QUERYENDSESSION, 0) == 1
        assert tell(window, logoff.WM_ENDSESSION, 0) == 0, "another program refused: keep running"
        assert it.client.status("web")["state"] == "ready"

        assert tell(window, logoff.WM_ENDSESSION, 1) is None, "it must not answer before its end"
        await_end(supervisor)
        it.client.printed("web", "got SIGTERM")
        assert it.exit_code() == 128 + signal.SIGTERM
        assert list((it.state / "runs").iterdir()) == []


@pytest.mark.skipif(not BINARY, reason="a sidecar from source has no bootloader")
def test_a_log_off_ends_a_deaf_service_before_the_bootloader_ends_us(tmp_path: Path) -> None:
    """The bootloader gives us one second, the service's stop timeout is five. We must cut it, or leave the record.

    On a busy machine the rest of that second may be too short. Then the next start removes the record.
    """
    assert not all(records_after_log_off(tmp_path / str(turn)) for turn in range(TRIES))


def records_after_log_off(folder: Path) -> list[Path]:
    """Run a deaf service until the end of the session; return the records that are left."""
    folder.mkdir()
    with Direct(folder) as it:
        pid = it.client.hello({"web": program("ignore:SIGTERM", "print:up", "hold")})["pid"]
        it.client.call("start", service="web")
        it.client.printed("web", "up")
        windows = [until(lambda: window_of(pid), "a window"), window_of(it.process.pid, BOOTLOADERS_CLASS)]
        supervisor = held(pid)
        assert all(tell(it, logoff.WM_QUERYENDSESSION, 0) == 1 for it in windows if it is not None)
        both = [threading.Thread(target=tell, args=(it, logoff.WM_ENDSESSION, 1)) for it in windows]
        for thread in both:
            thread.start()
        await_end(supervisor)
        for thread in both:
            thread.join(WAIT_S)
        return list((it.state / "runs").iterdir())


@pytest.mark.parametrize(
    ("folder", "times"), [(r"C:\Temp\_MEI1", 2), (None, 1)], ids=["one file", "source or a folder"]
)
def test_only_below_a_bootloader_the_grace_is_cut(
    folder: str | None, times: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    slept: list[float] = []
    seen: list[int] = []
    monkeypatch.setattr(frozen, "unpacked_folder", lambda: folder)
    monkeypatch.setattr(time, "sleep", slept.append)
    session._end_in_time(seen.append, session.SESSION_ENDS_S)
    assert seen == [signal.SIGTERM] * times
    assert all(it < session.SESSION_ENDS_S for it in slept)
