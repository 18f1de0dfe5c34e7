"""The view for people: lines and status lines out, keys in. All of it runs in the loop's thread."""

from __future__ import annotations

import sys
from collections.abc import Callable, Collection, Iterable, Sequence
from functools import partial

assert sys.platform != "win32"  # for mypy: what follows exists on POSIX only

from sidecar.commands.dev.client import DevFront
from sidecar.commands.dev.opener import Opener
from sidecar.commands.dev.plain import PlainDisplay
from sidecar.commands.dev.status_line import StatusLines
from sidecar.core.events import Event, Output
from sidecar.protocol.messages import AnyNotification, LogLine, ServiceState
from sidecar.protocol.requests import Logs, Restart, Shutdown, Start, Stop
from sidecar.terminal.messages import DIM, LINK, NAME, WARN, describe_keys
from sidecar.terminal.screen import CLEAR, Only, Screen
from sidecar.terminal.tty import Terminal, stop_job

REPLAYED = 200
"""The number of last lines to show again when only this service is shown."""

SUSPEND_S = 1.0
"""Bound on writing the waiting output after Ctrl-Z."""


class TerminalDisplay(PlainDisplay):
    """Shows lines, and status lines below. It sets the terminal's modes, and restores them at the end."""

    def __init__(
        self, screen: Screen, status: StatusLines, terminal: Terminal | None, unprobed: Collection[str] = ()
    ) -> None:
        """Take the terminal if keys come from it."""
        super().__init__(screen, unprobed)
        self._status = status
        self._terminal = terminal
        self._asked: set[str] = set()
        """The services that a person has stopped or restarted by a key. The key press was reported at once."""
        self._runs: dict[str, int] = {}
        """Service → the last run that printed something."""
        self._awaited: str | None = None
        """The service that ``replay`` will bring. Its output until then is part of the replay, and not shown before."""
        self.continued = True
        """Whether SIGCONT came after the last Ctrl-Z. So two presses of Ctrl-Z stop us once."""
        self.resume()

    def show(self, message: AnyNotification) -> None:
        """See ``client.Display``."""
        if self._status.follow(message):
            self._screen.refresh()
        match message:
            case ServiceState(state="stopping", service=name, error=None) if name not in self._asked:
                self._screen.put(((f"stopping {name}", WARN), ("; Ctrl-C ends it at once", DIM)))
            case ServiceState(state="stopped", service=name) if name in self._asked:
                self._asked.discard(name)
                self._screen.put(((name, NAME), (" is stopped; s starts it again", DIM)))
            case ServiceState(state="starting" | "failed", service=name):
                self._asked.discard(name)
            case _:
                pass
        super().show(message)

    def relay(self, output: Output) -> None:
        """See ``client.Display``."""
        self._runs[output.service] = output.run
        if output.service != self._awaited:
            super().relay(output)

    def replay(self, service: str, lines: Sequence[LogLine]) -> None:
        """See ``client.Display``."""
        if service != self._awaited:
            return  # another one has been picked since
        self._awaited = None
        run = self._runs.get(service, 0)
        for line in lines:
            whole = () if line.seq is None else (line.text,)
            partial = line.text if line.seq is None else ""
            self._screen.put_output(Output(service, run, line.stream, whole, len(line.text), partial))

    def close(self) -> None:
        """See ``client.Display``."""
        super().close()
        self._give_back()

    def asked_for(self, service: str, what: str) -> None:
        """Show that a person has asked for this: ``stopping`` or ``restarting``."""
        self._screen.put(((f"{what} ", WARN), (service, NAME)))
        self._asked.add(service)
        if what == "restarting":
            self._status.count_restart(service)
        self._screen.refresh()

    def show_only(self, service: str | None) -> None:
        """Show from now on the output of this service, or of all. ``replay`` brings the service's last lines."""
        self._awaited = service
        if service is None:
            self._screen.put(Only(None), (("all services are shown again", DIM),))
        else:
            self._screen.put(CLEAR, Only(service), (("only ", DIM), (service, NAME), (" is shown; f shows all", DIM)))

    def resized(self) -> Iterable[Event]:
        """Redraw for the new size of the terminal."""
        self._screen.refresh()
        return ()

    def suspend(self) -> Iterable[Event]:
        """Ctrl-Z: restore the terminal, and stop. Services go on, because they have their own sessions."""
        self._screen.hide(SUSPEND_S)
        self._give_back()
        if not self.continued:
            stop_job()
        return self.resume()

    def resume(self) -> Iterable[Event]:
        """Take the terminal again after SIGCONT, if we are in the foreground."""
        if self._terminal is not None:
            self._terminal.take()
        self._screen.show()
        return ()

    def _give_back(self) -> None:
        if self._terminal is not None:
            self._terminal.give_back()


class Keys:
    """Does what each key asks for."""

    def __init__(
        self, front: DevFront, output: TerminalDisplay, screen: Screen, status: StatusLines, opener: Opener | None
    ) -> None:
        """Act on these."""
        self._front = front
        self._output = output
        self._screen = screen
        self._status = status
        self._opener = opener
        self._several = len(status.services) > 1
        self._only_chosen = False
        """Whether only the output of the chosen service is shown."""
        self._quitting = False
        self._actions: dict[str, Callable[[], None]] = {
            "r": self._restart,
            "R": self._restart_all,
            "s": self._stop_or_start,
            "f": self._show_only,
            "\t": self._choose_next,
            "o": self._open,
            "l": partial(screen.put, CLEAR),
            "q": self._quit,
            "\x04": self._quit,  # Ctrl-D. Unlike Ctrl-C it sends no signal
            "?": self._help,
            "h": self._help,
            "\n": partial(screen.put, "\n"),  # people separate output by empty lines
        }
        for number, name in enumerate(status.services[:9], 1):
            self._actions[str(number)] = partial(self._choose, name)

    def press(self, key: str) -> Iterable[Event]:
        """Act on a key press. A key without a meaning does nothing."""
        action = self._actions.get(key)
        if action is not None:
            action()
        return ()

    def hang_up(self) -> Iterable[Event]:
        """End, because the terminal is gone. If SIGHUP came first, this changes nothing."""
        self._front.ask(Shutdown())
        return ()

    @property
    def _chosen(self) -> str:
        return self._status.chosen

    def _choose(self, name: str) -> None:
        if not self._several or name == self._chosen:
            return
        self._status.chosen = name
        if self._only_chosen:
            self._show_chosen()
        elif not self._screen.draws_bar:
            self._screen.put((("picked ", DIM), (name, NAME)))
        self._screen.refresh()

    def _choose_next(self) -> None:
        names = self._status.services
        self._choose(names[(names.index(self._chosen) + 1) % len(names)])

    def _restart(self) -> None:
        self._restart_one(self._chosen)

    def _restart_all(self) -> None:
        for name in self._status.services:
            self._restart_one(name)

    def _restart_one(self, name: str) -> None:
        if self._status.of(name).state == "stopping":
            return  # a restart or the end is on its way
        self._output.asked_for(name, "restarting")
        self._front.ask(Restart(name))

    def _stop_or_start(self) -> None:
        name = self._chosen
        match self._status.of(name).state:
            case "stopping":
                pass
            case "stopped" | "failed":
                self._front.ask(Start(name))
            case _:
                self._output.asked_for(name, "stopping")
                self._front.put_aside(name)
                self._front.ask(Stop(name))

    def _show_only(self) -> None:
        if not self._several:
            return
        self._only_chosen = not self._only_chosen
        if self._only_chosen:
            self._show_chosen()
        else:
            self._output.show_only(None)

    def _show_chosen(self) -> None:
        self._output.show_only(self._chosen)
        self._front.ask(Logs(self._chosen, REPLAYED))

    def _open(self) -> None:
        shown = self._status.of(self._chosen)
        url = shown.page
        if self._opener is None or url is None:
            self._screen.put(((f"there is no page to open: {shown.service} is not ready, or has no port", WARN),))
            return
        self._screen.put((("opening ", ""), (url, LINK)))
        self._opener.open(url)

    def _quit(self) -> None:
        """Stop everything; the second time without a delay."""
        self._front.ask(Shutdown(0 if self._quitting else None))
        self._quitting = True

    def _help(self) -> None:
        self._screen.put(*describe_keys(several=self._several))
