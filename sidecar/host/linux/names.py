"""Look up names of users and hosts without loading another user's library.

The C library answers these questions with libraries that it loads on first use (nsswitch.conf(5)). It searches for them
in LD_LIBRARY_PATH as it was when the process started. In a frozen sidecar that is the unpacked folder, and another user
can make this folder again after a cleaner has removed it. So once the folder is no longer ours, we ask another program:
getent(1), which comes with the C library. It gets the variable's former value.
"""

from __future__ import annotations

import os
import subprocess
import sys

assert sys.platform == "linux"  # for mypy: what follows exists on Linux

from sidecar.host import frozen

ANSWER_S = 5.0
"""The bound for an answer. A directory of users or names may be on the network."""


def load() -> None:
    """Make the C library load what a lookup of our own user needs. Without HOME, that lookup names our home folder."""
    import pwd

    try:
        pwd.getpwuid(os.getuid())
    except KeyError:
        pass  # a user without an entry, as in a container


def user_name(uid: int) -> str:
    """Return the user's name; the number if there is none."""
    if not frozen.is_intact():
        return _ask("passwd", str(uid)).partition(":")[0] or str(uid)
    import pwd

    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)


def addresses_of(host: str) -> list[str]:
    """Return the addresses of a name; empty if there is none."""
    return list(dict.fromkeys(line.split()[0] for line in _ask("ahosts", host).splitlines() if line.strip()))


def _ask(database: str, key: str) -> str:
    try:
        done = subprocess.run(
            ["getent", "--", database, key],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=ANSWER_S,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return ""  # ENOENT: a C library without getent; EAGAIN, ENOMEM: no program can be started now
    return done.stdout
