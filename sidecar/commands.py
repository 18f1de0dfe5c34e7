"""The commands that work on processes, each from its options to its exit code.

What only one of them needs is imported in its function: the guard is forked before anything heavy is loaded.
"""

from __future__ import annotations

import signal
import sys
from collections.abc import Callable
from types import SimpleNamespace

from sidecar.console import OPENER_PART
from sidecar.diagnostics import say
from sidecar.doctor import DOCTOR_PART
from sidecar.errors import SystemFailureError, UnsupportedPlatformError
from sidecar.host import attach, bundle, survey
from sidecar.host.shared import EXIT_APP_GONE, EXIT_REFUSED, REFUSALS, UNWATCHED, cannot_start

TYPE_CHECKING = False  # see sidecar.errors
if TYPE_CHECKING:  # it loads msgspec
    from sidecar.host.base import Tether

EXIT_UNSUPPORTED = 69
EXIT_INTERRUPTED = 130

LAUNCHER_GONE = (
    "the process that started 'sidecar dev' has ended, so its services were ended, too. To let them run on, start it "
    "with nohup, or name the process to hang on by --parent-pid."
)


def run(command: str, options: SimpleNamespace) -> int:
    """Run it; the exit code."""
    bundle.forget_variables()
    bundle.hold()
    try:
        return _stdio(options) if command == "stdio" else _run_other(command, options)
    except SystemFailureError as error:
        say("error", error.message)
    except OSError as error:
        if error.errno not in REFUSALS:
            raise
        say("error", cannot_start(error))
    return EXIT_REFUSED


def _stdio(options: SimpleNamespace) -> int:
    tether = _attach(options)
    if isinstance(tether, int):
        return tether
    from sidecar import stdio
    from sidecar.runtime import leave
    from sidecar.threads import end_with_any_thread

    end_with_any_thread()
    return leave(stdio.serve(tether))


def _attach(options: SimpleNamespace, at_end: Callable[[bool], None] | None = None) -> Tether | int:
    """Become the supervisor; or an exit code where there is nothing to supervise for, or no way to."""
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        # until the supervisor takes signals, Ctrl-C ends us as SIGTERM does: nothing runs yet, and no trace is wanted
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    try:
        return attach(options.parent_pid, at_end)
    except ProcessLookupError:
        say("error", "the process to watch (the app) is dead already; there is nothing to do")
        return EXIT_APP_GONE
    except UnsupportedPlatformError as error:
        say("error", error.message)
        return EXIT_UNSUPPORTED


def _run_other(command: str, options: SimpleNamespace) -> int:
    try:
        if command == "dev":
            return _dev(options)
        if command == DOCTOR_PART:
            from sidecar.doctor import parts

            return parts.play(options.words)
        if command == OPENER_PART:
            from sidecar.console import opener

            opener.serve(0)
        return _look(command, options)
    except UnsupportedPlatformError as error:
        say("error", error.message)
        return EXIT_UNSUPPORTED


def _look(command: str, options: SimpleNamespace) -> int:
    found = survey(command)
    try:
        if command == "ps":
            from sidecar import ps

            return ps.run(found, as_json=options.json, watch=options.watch)
        if command == "clean":
            from sidecar import clean

            return clean.run(found, dry_run=options.dry_run, yes=options.yes, as_json=options.json)
        from sidecar.doctor import command as doctor

        return doctor.run(found, options.root, port=options.port, prove=options.prove, as_json=options.json)
    except KeyboardInterrupt:
        return EXIT_INTERRUPTED


if sys.platform != "win32":

    def _dev(options: SimpleNamespace) -> int:
        from sidecar.console import opener as opening
        from sidecar.console import terminal as terminals

        terminal = None if options.json else terminals.find_terminal()
        opener = opening.fork_opener() if terminal is not None or options.open else None
        terminals.ignore_quit()
        if terminal is not None:
            terminal.postpone_suspend()
        if options.parent_pid is None and signal.getsignal(signal.SIGHUP) is signal.SIG_IGN:
            options.parent_pid = UNWATCHED  # nohup: it is to outlive the shell that started it

        def at_end(app_gone: bool) -> None:  # noqa: FBT001  the guard calls it
            if terminal is not None:
                terminal.give_back()
            if app_gone:
                say("warning", LAUNCHER_GONE)

        tether = _attach(options, at_end)
        if isinstance(tether, int):
            return tether
        from functools import partial

        from sidecar.console import attended, dev
        from sidecar.runtime import leave
        from sidecar.threads import end_with_any_thread

        end_with_any_thread()
        open_page = opener.open if options.open and opener is not None else None
        return leave(dev.serve(tether, options, partial(attended.open_view, terminal, opener), open_page))

else:

    def _dev(options: SimpleNamespace) -> int:
        from sidecar.console import opener as opening

        opener = opening.start_opener() if options.open else None
        tether = _attach(options)
        if isinstance(tether, int):
            return tether
        from sidecar.console import dev
        from sidecar.runtime import leave
        from sidecar.threads import end_with_any_thread

        end_with_any_thread()
        code = dev.serve(tether, options, dev.show_lines, None if opener is None else opener.open)
        if code == EXIT_APP_GONE:
            say("warning", LAUNCHER_GONE)
        return leave(code)
