"""Calls to Windows that Python has no function for: small functions that raise ``OSError``. Handles are ints."""

from __future__ import annotations

import ctypes
import sys
import time
from collections.abc import Callable

assert sys.platform == "win32"  # for mypy: what follows exists on Windows

import socket
from ctypes import wintypes

from sidecar.host.shared import plain_address

INFINITE = 0xFFFF_FFFF
SYNCHRONIZE = 0x0010_0000
PROCESS_QUERY_LIMITED_INFORMATION = 0x1000

ERROR_ACCESS_DENIED = 5
ERROR_NOT_SUPPORTED = 50
"""The answer for the table of an address family that the system does not have."""
ERROR_INVALID_PARAMETER = 87
"""The answer of ``OpenProcess`` if there is no such process."""
ERROR_INSUFFICIENT_BUFFER = 122
ERROR_MORE_DATA = 234

ROOM_FOR_MORE = 64
"""Room for processes that start between our count and our list. If there are more, we count again."""

CTRL_BREAK_EVENT = 1

UNITS_PER_MS = 10_000
"""The system counts a process's times in units of 100 ns."""
UNIX_EPOCH = 116_444_736_000_000_000
"""The start of 1970 in these units, which count from 1601."""

_ASSOCIATE_COMPLETION_PORT = 7
_BASIC_ACCOUNTING = 1
_BASIC_PROCESS_ID_LIST = 3
_EXTENDED_LIMITS = 9
_KILL_ON_JOB_CLOSE = 0x2000
_BREAKAWAY_OK = 0x0800

_TABLE_OWNER_PID_LISTENER = 3

_SIO_TCP_INITIAL_RTO = 0x9800_0011
_UNSPECIFIED_RTT = 0xFFFF
_NO_SYN_RETRANSMISSIONS = 0xFE
"""mstcpip.h"""

_kernel32 = ctypes.WinDLL("kernel32", use_last_error=True)
_iphlpapi = ctypes.WinDLL("iphlpapi")
_ws2_32 = ctypes.WinDLL("ws2_32")

_INVALID_HANDLE = wintypes.HANDLE(-1)


class _BasicLimits(ctypes.Structure):
    _fields_ = (
        ("PerProcessUserTimeLimit", wintypes.LARGE_INTEGER),
        ("PerJobUserTimeLimit", wintypes.LARGE_INTEGER),
        ("LimitFlags", wintypes.DWORD),
        ("MinimumWorkingSetSize", ctypes.c_size_t),
        ("MaximumWorkingSetSize", ctypes.c_size_t),
        ("ActiveProcessLimit", wintypes.DWORD),
        ("Affinity", ctypes.c_size_t),
        ("PriorityClass", wintypes.DWORD),
        ("SchedulingClass", wintypes.DWORD),
    )


class _ExtendedLimits(ctypes.Structure):
    _fields_ = (
        ("BasicLimitInformation", _BasicLimits),
        ("IoInfo", ctypes.c_ulonglong * 6),
        ("ProcessMemoryLimit", ctypes.c_size_t),
        ("JobMemoryLimit", ctypes.c_size_t),
        ("PeakProcessMemoryUsed", ctypes.c_size_t),
        ("PeakJobMemoryUsed", ctypes.c_size_t),
    )


class _Accounting(ctypes.Structure):
    _fields_ = (
        ("Times", wintypes.LARGE_INTEGER * 4),
        ("TotalPageFaultCount", wintypes.DWORD),
        ("TotalProcesses", wintypes.DWORD),
        ("ActiveProcesses", wintypes.DWORD),
        ("TotalTerminatedProcesses", wintypes.DWORD),
    )


class _CompletionPort(ctypes.Structure):
    _fields_ = (("CompletionKey", ctypes.c_void_p), ("CompletionPort", wintypes.HANDLE))


class _InitialRto(ctypes.Structure):
    _fields_ = (("Rtt", wintypes.USHORT), ("MaxSynRetransmissions", ctypes.c_ubyte))


class _TcpRow(ctypes.Structure):
    _fields_ = (
        ("State", wintypes.DWORD),
        ("LocalAddr", ctypes.c_ubyte * 4),
        ("LocalPort", ctypes.c_ubyte * 4),
        ("RemoteAddr", ctypes.c_ubyte * 4),
        ("RemotePort", wintypes.DWORD),
        ("OwningPid", wintypes.DWORD),
    )


class _Tcp6Row(ctypes.Structure):
    _fields_ = (
        ("LocalAddr", ctypes.c_ubyte * 16),
        ("LocalScopeId", wintypes.DWORD),
        ("LocalPort", ctypes.c_ubyte * 4),
        ("RemoteAddr", ctypes.c_ubyte * 16),
        ("RemoteScopeId", wintypes.DWORD),
        ("RemotePort", wintypes.DWORD),
        ("State", wintypes.DWORD),
        ("OwningPid", wintypes.DWORD),
    )


_HANDLER = ctypes.WINFUNCTYPE(wintypes.BOOL, wintypes.DWORD)
_handlers: list[object] = []
"""Keeps the callbacks of Windows alive."""

for _name, _result, _arguments in (
    ("AssignProcessToJobObject", wintypes.BOOL, (wintypes.HANDLE, wintypes.HANDLE)),
    ("AttachConsole", wintypes.BOOL, (wintypes.DWORD,)),
    (
        "CreateIoCompletionPort",
        wintypes.HANDLE,
        (wintypes.HANDLE, wintypes.HANDLE, ctypes.c_void_p, wintypes.DWORD),
    ),
    ("CreateJobObjectW", wintypes.HANDLE, (ctypes.c_void_p, wintypes.LPCWSTR)),
    ("GenerateConsoleCtrlEvent", wintypes.BOOL, (wintypes.DWORD, wintypes.DWORD)),
    ("GetConsoleMode", wintypes.BOOL, (wintypes.HANDLE, ctypes.POINTER(wintypes.DWORD))),
    ("GetProcessId", wintypes.DWORD, (wintypes.HANDLE,)),
    ("GetProcessTimes", wintypes.BOOL, (wintypes.HANDLE, *[ctypes.POINTER(wintypes.FILETIME)] * 4)),
    (
        "GetQueuedCompletionStatus",
        wintypes.BOOL,
        (
            wintypes.HANDLE,
            ctypes.POINTER(wintypes.DWORD),
            ctypes.POINTER(ctypes.c_void_p),
            ctypes.POINTER(ctypes.c_void_p),
            wintypes.DWORD,
        ),
    ),
    (
        "QueryFullProcessImageNameW",
        wintypes.BOOL,
        (wintypes.HANDLE, wintypes.DWORD, wintypes.LPWSTR, ctypes.POINTER(wintypes.DWORD)),
    ),
    (
        "QueryInformationJobObject",
        wintypes.BOOL,
        (wintypes.HANDLE, ctypes.c_int, ctypes.c_void_p, wintypes.DWORD, ctypes.c_void_p),
    ),
    ("ResumeThread", wintypes.DWORD, (wintypes.HANDLE,)),
    ("SetConsoleCtrlHandler", wintypes.BOOL, (_HANDLER, wintypes.BOOL)),
    ("SetDllDirectoryW", wintypes.BOOL, (wintypes.LPCWSTR,)),
    (
        "SetInformationJobObject",
        wintypes.BOOL,
        (wintypes.HANDLE, ctypes.c_int, ctypes.c_void_p, wintypes.DWORD),
    ),
    ("TerminateJobObject", wintypes.BOOL, (wintypes.HANDLE, wintypes.UINT)),
):
    _function = getattr(_kernel32, _name)
    _function.restype = _result
    _function.argtypes = _arguments


_ws2_32.WSAIoctl.argtypes = (
    *(ctypes.c_size_t, wintypes.DWORD),  # a SOCKET is as wide as a pointer
    *(ctypes.c_void_p, wintypes.DWORD, ctypes.c_void_p, wintypes.DWORD),
    *(ctypes.POINTER(wintypes.DWORD), ctypes.c_void_p, ctypes.c_void_p),
)


def _must(result: int | None) -> int:
    if not result:
        raise ctypes.WinError(ctypes.get_last_error())
    return result


# ── jobs ──────────────────────────────────────────────────────────────────────────────────────────────────────────────


def create_job() -> int:
    """Make a job that no process can leave and that dies with its last handle. It has no name; no child inherits it."""
    job = _must(_kernel32.CreateJobObjectW(None, None))
    _limit(job, _KILL_ON_JOB_CLOSE)
    return job


def let_out(job: int) -> None:
    """Allow processes in the job to start others outside of it. So it cannot hide an escape from another job."""
    _limit(job, _KILL_ON_JOB_CLOSE | _BREAKAWAY_OK)


def _limit(job: int, flags: int) -> None:
    limits = _ExtendedLimits()
    limits.BasicLimitInformation.LimitFlags = flags
    _must(_kernel32.SetInformationJobObject(job, _EXTENDED_LIMITS, ctypes.byref(limits), ctypes.sizeof(limits)))


def assign(job: int, process: int) -> None:
    """Put a process into the job, and with it all that it will start."""
    _must(_kernel32.AssignProcessToJobObject(job, process))


def terminate_job(job: int, code: int) -> None:
    """Kill all processes in the job. They may need a moment to be gone."""
    _must(_kernel32.TerminateJobObject(job, code))


def count_in_job(job: int) -> int:
    """Count the living processes in the job."""
    found = _Accounting()
    size = ctypes.sizeof(found)
    _must(_kernel32.QueryInformationJobObject(job, _BASIC_ACCOUNTING, ctypes.byref(found), size, None))
    return int(found.ActiveProcesses)


def pids_in_job(job: int) -> list[int]:
    """List the living processes in the job."""
    while True:  # this ends: even a tree that starts programs faster than we list them runs out of memory
        room = count_in_job(job) + ROOM_FOR_MORE

        class List(ctypes.Structure):
            _fields_ = (
                ("NumberOfAssignedProcesses", wintypes.DWORD),
                ("NumberOfProcessIdsInList", wintypes.DWORD),
                ("ProcessIdList", ctypes.c_size_t * room),
            )

        found = List()
        size = ctypes.sizeof(found)
        if _kernel32.QueryInformationJobObject(job, _BASIC_PROCESS_ID_LIST, ctypes.byref(found), size, None):
            return list(found.ProcessIdList[: found.NumberOfProcessIdsInList])
        if ctypes.get_last_error() != ERROR_MORE_DATA:
            raise ctypes.WinError(ctypes.get_last_error())


def create_port() -> int:
    """Make a completion port, where jobs report what happens in them."""
    return _must(_kernel32.CreateIoCompletionPort(_INVALID_HANDLE, None, None, 1))


def tell(job: int, port: int) -> None:
    """Make the job report to the port."""
    told = _CompletionPort(None, port)
    _must(_kernel32.SetInformationJobObject(job, _ASSOCIATE_COMPLETION_PORT, ctypes.byref(told), ctypes.sizeof(told)))


def wait_for_news(port: int) -> None:
    """Block until a job reports something: a start, an end, or that it is empty."""
    what, key, process = wintypes.DWORD(), ctypes.c_void_p(), ctypes.c_void_p()
    _must(
        _kernel32.GetQueuedCompletionStatus(
            port, ctypes.byref(what), ctypes.byref(key), ctypes.byref(process), INFINITE
        )
    )


# ── processes ─────────────────────────────────────────────────────────────────────────────────────────────────────────


def created(process: int) -> int:
    """Return when the process was created, in units of 100 ns. Pid and creation together are its identity."""
    times = [wintypes.FILETIME() for _ in range(4)]
    _must(_kernel32.GetProcessTimes(process, *map(ctypes.byref, times)))
    return (times[0].dwHighDateTime << 32) | times[0].dwLowDateTime


def now() -> int:
    """Return the current time in the same units."""
    return UNIX_EPOCH + time.time_ns() // 100


def pid_of(process: int) -> int:
    """Return the pid of the handle's process."""
    return _must(_kernel32.GetProcessId(process))


def image(process: int) -> str:
    """Return the path of the process's program."""
    size = wintypes.DWORD(32_768)  # no path is longer
    buffer = ctypes.create_unicode_buffer(size.value)
    _must(_kernel32.QueryFullProcessImageNameW(process, 0, buffer, ctypes.byref(size)))
    return buffer.value


def resume(thread: int) -> None:
    """Let a suspended thread run."""
    if _kernel32.ResumeThread(thread) == INFINITE:
        raise ctypes.WinError(ctypes.get_last_error())


def forget_dll_folder() -> None:
    """Undo ``SetDllDirectoryW``: our children would inherit it."""
    _must(_kernel32.SetDllDirectoryW(None))


# ── consoles ──────────────────────────────────────────────────────────────────────────────────────────────────────────


def has_console() -> bool:
    """Tell whether we are attached to a console, visible or hidden."""
    return bool(_kernel32.GetConsoleCP())


def is_console(handle: int) -> bool:
    """Tell whether the handle is a console's input or output."""
    return bool(_kernel32.GetConsoleMode(handle, ctypes.byref(wintypes.DWORD())))


def ask_group(group: int) -> None:
    """Send Ctrl-Break to a process group. The group shares our console, or has its own if we have none."""
    if has_console():
        _must(_kernel32.GenerateConsoleCtrlEvent(CTRL_BREAK_EVENT, group))
        return
    _must(_kernel32.AttachConsole(group))
    try:
        _must(_kernel32.GenerateConsoleCtrlEvent(CTRL_BREAK_EVENT, group))
    finally:
        _kernel32.FreeConsole()


def on_console_event(handle: Callable[[int], bool]) -> None:
    """Call ``handle`` for each event of our console, on a thread of the system. ``True`` means that it is handled."""
    handler = _HANDLER(handle)
    _handlers.append(handler)
    _must(_kernel32.SetConsoleCtrlHandler(handler, True))


# ── sockets ───────────────────────────────────────────────────────────────────────────────────────────────────────────


def fail_at_once(sock: socket.socket) -> None:
    """Make ``connect`` fail with the first refusal. Else Windows tries again every 500 ms, for about 2 s.

    Call this before ``connect``. A Windows without this option still tries again.
    """
    wanted = _InitialRto(_UNSPECIFIED_RTT, _NO_SYN_RETRANSMISSIONS)
    size = wintypes.DWORD()
    # the result does not matter: WSAEOPNOTSUPP or WSAEINVAL before Windows 10 1803, and under Wine
    _ws2_32.WSAIoctl(
        *(sock.fileno(), _SIO_TCP_INITIAL_RTO),
        *(ctypes.byref(wanted), ctypes.sizeof(wanted), None, 0),
        *(ctypes.byref(size), None, None),
    )


def listeners() -> list[tuple[str, int, int]]:
    """Return (address, port, owner's pid) of each listening TCP socket. The pid is 0 if the system does not say.

    Raises ``OSError`` if the tables cannot be read.
    """
    found = []
    for family, row in ((socket.AF_INET, _TcpRow), (socket.AF_INET6, _Tcp6Row)):
        data = _table(family)
        count = int.from_bytes(data[:4], "little")
        for it in (row * count).from_buffer_copy(data, ctypes.sizeof(wintypes.DWORD)):
            address = plain_address(socket.inet_ntop(family, bytes(it.LocalAddr)))
            found.append((address, int.from_bytes(bytes(it.LocalPort[:2]), "big"), int(it.OwningPid)))
    return found


def _table(family: socket.AddressFamily) -> bytes:
    size = wintypes.DWORD(4096)
    while True:  # the table may grow between two calls, but not forever
        buffer = ctypes.create_string_buffer(size.value)
        kind = _TABLE_OWNER_PID_LISTENER
        result = _iphlpapi.GetExtendedTcpTable(buffer, ctypes.byref(size), 0, int(family), kind, 0)
        if result == 0:
            return buffer.raw
        if result == ERROR_NOT_SUPPORTED:
            return bytes(ctypes.sizeof(wintypes.DWORD))  # a table without rows
        if result != ERROR_INSUFFICIENT_BUFFER:
            raise ctypes.WinError(result)
