"""On PYTHONPATH, make the kernel refuse a sidecar's forks with ENOMEM while the file NO_FORK exists.

In a pid namespace whose first process has died, no fork succeeds: pid_namespaces(7). Each fork is tried in such a
namespace, which is left again at once.
"""

from __future__ import annotations

import _posixsubprocess
import ctypes
import os
import sys
from typing import Any

if sys.platform != "linux":
    raise ImportError("pid namespaces")

CLONE_NEWPID = 0x2000_0000

_libc = ctypes.CDLL(None, use_errno=True)
_fork_exec = _posixsubprocess.fork_exec


def enter_a_dead_namespace() -> None:
    """Make every later fork of this thread fail. Raises ``OSError``."""
    if _libc.unshare(CLONE_NEWPID) != 0:
        raise OSError(ctypes.get_errno(), "unshare")
    first = os.fork()
    if first == 0:
        os._exit(0)
    os.waitpid(first, 0)


def fork_exec(*arguments: Any) -> int:
    if not os.path.exists(os.environ["NO_FORK"]):
        return _fork_exec(*arguments)
    own = os.open("/proc/self/ns/pid", os.O_RDONLY)
    try:
        enter_a_dead_namespace()
        return _fork_exec(*arguments)
    finally:
        assert _libc.setns(own, CLONE_NEWPID) == 0
        os.close(own)


if "NO_FORK" in os.environ:
    _posixsubprocess.fork_exec = fork_exec
else:  # ``python sitecustomize.py COMMAND…``: run a command that can never fork
    enter_a_dead_namespace()
    os.execvp(sys.argv[1], sys.argv[1:])  # noqa: S606  no shell needed
