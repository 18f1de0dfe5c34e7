"""The table of exit codes of all commands.

The guard loads this before it forks, so it imports nothing. 'sidecar dev --help' and the page of exit codes list the
same numbers.
"""

from __future__ import annotations

EXIT_CLEAN = 0
"""The command has done what it was asked to do."""

EXIT_FAILED = 1
"""The command could not do it: a service failed, a process could not be ended, or its output was closed."""

EXIT_USAGE = 2
"""The command line is wrong, the command has to ask a person and cannot, or an optional package is not installed.

argparse exits with the same code.
"""

EXIT_APP_GONE = 3
"""The app is gone: stdin ended, or the watched process died."""

EXIT_UNSUPPORTED = 69
"""This system is not supported (EX_UNAVAILABLE of sysexits.h)."""

EXIT_INTERNAL = 70
"""A bug in the sidecar; the traceback is on stderr (EX_SOFTWARE of sysexits.h)."""

EXIT_CANNOT_START = 71
"""The system refuses a process, thread, descriptor or memory (EX_OSERR of sysexits.h)."""

EXIT_SIGNALLED = 128
"""As in a shell: add the number of the signal that ended the process."""

EXIT_INTERRUPTED = EXIT_SIGNALLED + 2
"""Ctrl-C (SIGINT is signal 2 on every system) ended a command that supervises nothing."""
