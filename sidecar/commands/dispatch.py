"""Run the commands that work on processes: take their options, return their exit code.

Each function imports what only its command needs, because the guard forks before anything heavy is loaded.
"""

from __future__ import annotations

import signal
import sys
from collections.abc import Callable

from sidecar.commands.options import (
    CleanOptions,
    DevOptions,
    DoctorOptions,
    DoctorPartOptions,
    LogsOptions,
    OfProcesses,
    OpenerPartOptions,
    PsOptions,
    StdioOptions,
)
from sidecar.diagnostics import say, say_error
from sidecar.errors import SystemFailureError, UnsupportedPlatformError
from sidecar.exit_codes import EXIT_APP_GONE, EXIT_CANNOT_START, EXIT_INTERRUPTED, EXIT_UNSUPPORTED
from sidecar.host import attach, frozen, survey
from sidecar.host.shared import REFUSALS, UNWATCHED, cannot_start

TYPE_CHECKING = False  # see sidecar.errors
if TYPE_CHECKING:  # it loads msgspec
    from sidecar.host.base import Session

LAUNCHER_GONE = (
    "the process that started 'sidecar dev' has ended, so its services were ended, too. To keep them running, start it "
    "with nohup, or name another process to watch with --parent-pid."
)


def run(options: OfProcesses) -> int:
    """Run the command; return the exit code."""
    frozen.forget_variables()
    frozen.hold()
    frozen.keep_executable()
    try:
        return _run(options)
    except SystemFailureError as error:
        say_error(error.message, "errors", error.kind)
    except OSError as error:
        if error.errno not in REFUSALS:
            raise
        say_error(cannot_start(error), "exit-codes")
    return EXIT_CANNOT_START


def _stdio(parent_pid: int | None) -> int:
    session = _attach(parent_pid)
    if isinstance(session, int):
        return session
    from sidecar.commands import stdio
    from sidecar.runtime.loop import leave
    from sidecar.threads import end_with_any_thread

    end_with_any_thread()
    return leave(stdio.serve(session))


def _attach(parent_pid: int | None, at_end: Callable[[bool], None] | None = None) -> Session | int:
    """Become the supervisor. Return an exit code instead if the app is dead or the platform is unsupported."""
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        # until the supervisor handles signals, Ctrl-C just ends us, as SIGTERM does: nothing runs yet
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    try:
        return attach(parent_pid, at_end)
    except ProcessLookupError:
        say_error("the process to watch (the app) is dead already; there is nothing to do", "exit-codes")
        return EXIT_APP_GONE
    except UnsupportedPlatformError as error:
        say_error(error.message, "errors", error.kind)
        return EXIT_UNSUPPORTED


def _run(options: OfProcesses) -> int:
    try:
        match options:
            case StdioOptions():
                return _stdio(options.parent_pid)
            case DevOptions():
                return _dev(options)
            case DoctorPartOptions():
                from sidecar.commands.doctor.prove import roles

                return roles.play(options.words)
            case OpenerPartOptions():
                from sidecar.commands.dev import opener

                opener.serve(0)
            case LogsOptions():
                return _logs(options)
            case PsOptions() | CleanOptions() | DoctorOptions():
                return _look(options)
    except UnsupportedPlatformError as error:
        say_error(error.message, "errors", error.kind)
        return EXIT_UNSUPPORTED


def _logs(options: LogsOptions) -> int:
    from sidecar.commands import logs

    try:
        return logs.run(options.name, options.lines, follow=options.follow)
    except KeyboardInterrupt:
        return EXIT_INTERRUPTED


def _look(options: PsOptions | CleanOptions | DoctorOptions) -> int:
    try:
        match options:
            case PsOptions():
                found = survey("ps")
                from sidecar.commands import ps

                return ps.run(found, as_json=options.json, watch=options.watch)
            case CleanOptions():
                found = survey("clean")
                from sidecar.commands import clean

                return clean.run(found, dry_run=options.dry_run, yes=options.yes, as_json=options.json)
            case DoctorOptions():
                found = survey("doctor")
                from sidecar.commands.doctor import report as doctor

                return doctor.run(found, options.root, port=options.port, prove=options.prove, as_json=options.json)
    except KeyboardInterrupt:
        return EXIT_INTERRUPTED


if sys.platform != "win32":

    def _dev(options: DevOptions) -> int:
        from sidecar.commands.dev import opener as opening
        from sidecar.terminal import tty as terminals

        terminal = None if options.json else terminals.find_terminal()
        opener = opening.fork_opener() if terminal is not None or options.open else None
        terminals.ignore_quit()
        if terminal is not None:
            terminal.postpone_suspend()
        parent_pid = options.parent_pid
        if parent_pid is None and signal.getsignal(signal.SIGHUP) is signal.SIG_IGN:
            parent_pid = UNWATCHED  # nohup: outlive the shell that started us

        def at_end(app_gone: bool) -> None:  # noqa: FBT001  the guard calls it
            if terminal is not None:
                terminal.give_back()
            if app_gone:
                say("warning", LAUNCHER_GONE)

        session = _attach(parent_pid, at_end)
        if isinstance(session, int):
            return session
        from functools import partial

        from sidecar.commands.dev import interactive, serve
        from sidecar.runtime.loop import leave
        from sidecar.threads import end_with_any_thread

        end_with_any_thread()
        open_page = opener.open if options.open and opener is not None else None
        return leave(serve.serve(session, options, partial(interactive.open_view, terminal, opener), open_page))

else:

    def _dev(options: DevOptions) -> int:
        from sidecar.commands.dev import opener as opening

        opener = opening.start_opener() if options.open else None
        session = _attach(options.parent_pid)
        if isinstance(session, int):
            return session
        from sidecar.commands.dev import serve
        from sidecar.runtime.loop import leave
        from sidecar.threads import end_with_any_thread

        end_with_any_thread()
        code = serve.serve(session, options, serve.show_lines, None if opener is None else opener.open)
        if code == EXIT_APP_GONE:
            say("warning", LAUNCHER_GONE)
        return leave(code)
