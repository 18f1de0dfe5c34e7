"""The end of the user's session: a log-off, or the machine's shutdown.

The console's events do not tell us: a program that has loaded user32.dll (psutil and the shell's folders do) counts as
one with windows, and Windows tells such a program by messages to its top-level windows. So we have one, which nobody
sees. A window for messages only would not be told.
"""

from __future__ import annotations

import ctypes
import sys
import threading
from collections.abc import Callable

assert sys.platform == "win32"  # for mypy: what follows exists on Windows

from ctypes import wintypes

from sidecar.diagnostics import say

CLASS = "tauri-sidecar"
"""What kind of window it is, for whoever lists them."""

WM_QUERYENDSESSION = 0x0011
WM_ENDSESSION = 0x0016

_RESULT = wintypes.LPARAM
"""What a window answers: as wide as a pointer."""
_ARGUMENTS = (wintypes.HWND, wintypes.UINT, wintypes.WPARAM, wintypes.LPARAM)
_PROCEDURE = ctypes.WINFUNCTYPE(_RESULT, *_ARGUMENTS)


class _Class(ctypes.Structure):
    _fields_ = (
        ("style", wintypes.UINT),
        ("lpfnWndProc", _PROCEDURE),
        ("cbClsExtra", ctypes.c_int),
        ("cbWndExtra", ctypes.c_int),
        ("hInstance", wintypes.HINSTANCE),
        ("hIcon", wintypes.HANDLE),
        ("hCursor", wintypes.HANDLE),
        ("hbrBackground", wintypes.HANDLE),
        ("lpszMenuName", wintypes.LPCWSTR),
        ("lpszClassName", wintypes.LPCWSTR),
    )


def watch(ends: Callable[[], None]) -> None:
    """A thread's body, for as long as the process lives: call ``ends`` when the session does, and hold Windows back.

    Windows gives us some seconds (HungAppTimeout, five) from then on, unless we return.
    """
    user32 = ctypes.WinDLL("user32", use_last_error=True)
    user32.DefWindowProcW.restype, user32.DefWindowProcW.argtypes = _RESULT, _ARGUMENTS
    user32.RegisterClassW.argtypes = (ctypes.POINTER(_Class),)
    user32.CreateWindowExW.restype = wintypes.HWND
    user32.CreateWindowExW.argtypes = (
        *(wintypes.DWORD, wintypes.LPCWSTR, wintypes.LPCWSTR, wintypes.DWORD),
        *(ctypes.c_int, ctypes.c_int, ctypes.c_int, ctypes.c_int),
        *(wintypes.HWND, wintypes.HMENU, wintypes.HINSTANCE, ctypes.c_void_p),
    )
    message = wintypes.MSG()
    user32.GetMessageW.argtypes = (ctypes.POINTER(wintypes.MSG), wintypes.HWND, wintypes.UINT, wintypes.UINT)
    user32.DispatchMessageW.argtypes = (ctypes.POINTER(wintypes.MSG),)

    def answer(window: int, number: int, word: int, more: int) -> int:
        if number == WM_QUERYENDSESSION:
            return 1  # we have nothing that a person would have to be asked about
        if number == WM_ENDSESSION and word:  # 0: somebody else did not let it end
            ends()
            threading.Event().wait()
        return int(user32.DefWindowProcW(window, number, word, more))

    procedure = _PROCEDURE(answer)  # as long as this function runs, it is not collected
    kind = _Class(lpfnWndProc=procedure, lpszClassName=CLASS)
    user32.RegisterClassW(ctypes.byref(kind))
    if not user32.CreateWindowExW(0, CLASS, CLASS, 0, 0, 0, 0, 0, None, None, None, None):
        # a service, or a session without a desktop, has no windows; there the console's events do come
        reason = ctypes.FormatError(ctypes.get_last_error())
        say("debug", f"the end of the user's session will not be told by a window: {reason}")
        return
    while user32.GetMessageW(ctypes.byref(message), None, 0, 0) > 0:
        user32.DispatchMessageW(ctypes.byref(message))
