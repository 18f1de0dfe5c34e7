"""Notice the end of the user's session: a log-off, or the machine's shutdown.

No console event reports this to us. A program that has loaded user32.dll (psutil and the lookup of the shell's folders
do) counts as a program with windows. Windows sends messages to its top-level windows instead. So we create a hidden
one. A message-only window would not get these messages.
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
"""The name of the window's class, for people who list windows."""

WM_QUERYENDSESSION = 0x0011
WM_ENDSESSION = 0x0016

_RESULT = wintypes.LPARAM
"""The result of a window procedure: as wide as a pointer."""
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
    """A thread's body until the process ends: call ``ends`` when the session ends, then keep Windows waiting.

    Windows waits for some seconds (HungAppTimeout, five) while we do not return.
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
            return 1  # we agree to the end of the session
        if number == WM_ENDSESSION and word:  # 0: another program kept the session from ending
            ends()
            threading.Event().wait()
        return int(user32.DefWindowProcW(window, number, word, more))

    procedure = _PROCEDURE(answer)  # this variable keeps it alive while this function runs
    kind = _Class(lpfnWndProc=procedure, lpszClassName=CLASS)
    user32.RegisterClassW(ctypes.byref(kind))
    if not user32.CreateWindowExW(0, CLASS, CLASS, 0, 0, 0, 0, 0, None, None, None, None):
        # a Windows service, or a session without a desktop, has no windows; it does get the console's events
        reason = ctypes.FormatError(ctypes.get_last_error())
        say("debug", f"no window will report the end of the user's session: {reason}")
        return
    while user32.GetMessageW(ctypes.byref(message), None, 0, 0) > 0:
        user32.DispatchMessageW(ctypes.byref(message))
