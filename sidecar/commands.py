"""The commands that work on processes, each from its options to its exit code.

What only one of them needs is imported in its function: the guard is forked before anything heavy is loaded.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable

assert sys.platform == "linux"  # for mypy: what follows exists on Linux

from sidecar.diagnostics import say
from sidecar.doctor import DOCTOR_PART
from sidecar.errors import SystemFailureError
from sidecar.host import bundle, guard
from sidecar.host.lifeline import Lifeline

EXIT_INTERRUPTED = 130


def run(command: str, options: argparse.Namespace) -> int:
    """Run it; the exit code."""
    bundle.forget_variables()
    try:
        return _run(command, options)
    except SystemFailureError as error:
        say("error", error.message)
    except OSError as error:
        if error.errno not in guard.REFUSALS:
            raise
        say("error", guard.cannot_start(error))
    return guard.EXIT_REFUSED


def _run(command: str, options: argparse.Namespace) -> int:
    match command:
        case "stdio":
            return _stdio(options)
        case "dev":
            return _dev(options)
        case _ if command == DOCTOR_PART:
            from sidecar.doctor import parts

            return parts.play(options.words)
        case _:
            try:
                return _look(command, options)
            except KeyboardInterrupt:
                return EXIT_INTERRUPTED


def _stdio(options: argparse.Namespace) -> int:
    lifeline = _split(options)
    if isinstance(lifeline, int):
        return lifeline
    from sidecar import stdio
    from sidecar.runtime import leave

    return leave(stdio.serve(lifeline))


def _dev(options: argparse.Namespace) -> int:
    from sidecar.console import opener as opening
    from sidecar.console import terminal as terminals

    terminal = None if options.json else terminals.find_terminal()
    opener = opening.fork_opener() if terminal is not None or options.open else None
    terminals.ignore_quit()
    if terminal is not None:
        terminal.postpone_suspend()
    lifeline = _split(options, None if terminal is None else terminal.give_back)
    if isinstance(lifeline, int):
        return lifeline
    from sidecar.console import dev
    from sidecar.runtime import leave

    return leave(dev.serve(lifeline, options, terminal, opener))


def _split(options: argparse.Namespace, at_end: Callable[[], None] | None = None) -> Lifeline | int:
    """Fork the guard; in the supervisor its lifeline, or an exit code where there is nothing to supervise for."""
    try:
        return guard.split(options.parent_pid, at_end)
    except ProcessLookupError:
        say("error", "the process to watch (the app) is dead already; there is nothing to do")
        return guard.EXIT_APP_GONE


def _look(command: str, options: argparse.Namespace) -> int:
    if command == "ps":
        from sidecar import ps

        return ps.run(as_json=options.json, watch=options.watch)
    if command == "clean":
        from sidecar import clean

        return clean.run(dry_run=options.dry_run, yes=options.yes, as_json=options.json)
    from sidecar.doctor import command as doctor

    return doctor.run(options.root, port=options.port, proving=options.prove, as_json=options.json)
