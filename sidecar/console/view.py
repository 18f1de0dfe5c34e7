"""The view for people: lines and a status line out, keys in. Everything here but ``look`` is called on the loop."""

from __future__ import annotations

import sys
from collections.abc import Callable, Collection, Iterable, Sequence
from functools import partial

assert sys.platform != "win32"  # for mypy: what follows exists on POSIX only

from sidecar.console.front import DevFront
from sidecar.console.opener import Opener
from sidecar.console.plain import PlainDisplay
from sidecar.console.screen import CLEAR, Screen
from sidecar.console.status import StatusLine
from sidecar.console.terminal import Terminal, stop_job
from sidecar.console.words import DIM, LINK, NAME, WARN, describe_keys
from sidecar.events import Event
from sidecar.wire.messages import AnyNotification, Restart, ServiceState, Shutdown

SUSPEND_S = 1.0
"""When Ctrl-Z is pressed, so long may what waits take to be written."""


class TerminalDisplay(PlainDisplay):
    """Lines, and a status line below; the terminal's modes are ours until the end."""

    def __init__(
        self, screen: Screen, status: StatusLine, terminal: Terminal | None, unprobed: Collection[str] = ()
    ) -> None:
        """Take the terminal, if keys come from it."""
        super().__init__(screen, unprobed)
        self._status = status
        self._terminal = terminal
        self._restarting = False
        self.continued = True
        """Whether SIGCONT came since Ctrl-Z was pressed last: pressed twice it stops us once."""
        self.resume()

    def show(self, message: AnyNotification) -> None:
        """See ``front.Display``."""
        if self._status.follow(message):
            self._screen.refresh()
        match message:
            case ServiceState(state="stopping", service=name, error=None) if not self._restarting:
                self._screen.put(((f"stopping {name}", WARN), ("; Ctrl-C ends it at once", DIM)))
            case ServiceState(state="starting"):
                self._restarting = False
            case _:
                pass
        super().show(message)

    def close(self) -> None:
        """See ``front.Display``."""
        super().close()
        self._give_back()

    def restart(self) -> None:
        """A restart was asked for."""
        self._restarting = True
        self._status.count_restart()
        self._screen.refresh()

    def resized(self) -> Iterable[Event]:
        """The terminal has another size."""
        self._screen.refresh()
        return ()

    def suspend(self) -> Iterable[Event]:
        """Ctrl-Z: leave the terminal as it was, and stop. Services are in sessions of their own, and go on."""
        self._screen.hide(SUSPEND_S)
        self._give_back()
        if not self.continued:
            stop_job()
        return self.resume()

    def resume(self) -> Iterable[Event]:
        """We were continued: in the foreground the terminal is ours again."""
        if self._terminal is not None:
            self._terminal.take()
        self._screen.show()
        return ()

    def _give_back(self) -> None:
        if self._terminal is not None:
            self._terminal.give_back()


class Keys:
    """What each key does."""

    def __init__(
        self,
        services: Sequence[str],
        front: DevFront,
        output: TerminalDisplay,
        screen: Screen,
        status: StatusLine,
        opener: Opener | None,
    ) -> None:
        """Join them."""
        self._services = services
        self._front = front
        self._output = output
        self._screen = screen
        self._status = status
        self._opener = opener
        self._quitting = False
        self._actions: dict[str, Callable[[], None]] = {
            "r": self._restart,
            "o": self._open,
            "l": partial(screen.put, CLEAR),
            "q": self._quit,
            "\x04": self._quit,  # Ctrl-D: no signal, as Ctrl-C is
            "?": self._help,
            "h": self._help,
            "\n": partial(screen.put, "\n"),  # people part their output by it
        }

    def press(self, key: str) -> Iterable[Event]:
        """A key was pressed; one without a meaning does nothing."""
        action = self._actions.get(key)
        if action is not None:
            action()
        return ()

    def hang_up(self) -> Iterable[Event]:
        """The terminal is gone. If SIGHUP came first, this adds nothing to it."""
        self._front.ask(Shutdown())
        return ()

    def _restart(self) -> None:
        if self._status.shown.state == "stopping":
            return  # on its way to a new start, or to the end
        self._screen.put((("restarting ", WARN), (", ".join(self._services), NAME)))
        self._output.restart()
        for name in self._services:
            self._front.ask(Restart(name))

    def _open(self) -> None:
        url = self._status.shown.url
        if self._opener is None or url is None or self._status.shown.ready_at is None:
            self._screen.put(
                ((f"there is no page to open: {self._status.shown.service} is not ready, or has no port", WARN),)
            )
            return
        self._screen.put((("opening ", ""), (url, LINK)))
        self._opener.open(url)

    def _quit(self) -> None:
        """The second time at once."""
        self._front.ask(Shutdown(0 if self._quitting else None))
        self._quitting = True

    def _help(self) -> None:
        self._screen.put(*describe_keys())
