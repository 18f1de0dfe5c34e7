"""The host on Windows: a kill-on-close job around ourselves, and in it a job for each service.

Our death, by any cause, closes the last handle of our own job. The system then ends everything that was ever started
below us: no process can leave a job that does not allow it. (If the tree has a Windows service or WMI start a process,
this process is not below us.) The TCP tables tell the owners of sockets.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable

assert sys.platform == "win32"  # for mypy: what follows exists on Windows

import _winapi
import msvcrt

from sidecar.core.events import Launch, Owner
from sidecar.diagnostics import say
from sidecar.errors import ProcessSpawnFailedError, SystemFailureError
from sidecar.host import stdin_guard
from sidecar.host.base import (
    FOREIGN,
    UNKNOWN,
    Child,
    Claim,
    Ended,
    Members,
    as_owner,
    joined,
    of_services,
    refuse_pid_namespace,
)
from sidecar.host.programs import TO_CMD
from sidecar.host.shared import REFUSALS, RUN_ID, SERVICE, child_environment, command_of, could_take, reached_at
from sidecar.host.windows import job as windows_tree
from sidecar.host.windows import winapi
from sidecar.host.windows.processes import environment
from sidecar.protocol.messages import Guarantees, Holder
from sidecar.threads import start_thread

CREATE_SUSPENDED = 0x4

LONGEST_FOLDER = 258
"""The limit for a program's current folder, even with long paths enabled: MAX_PATH without the final NUL and ``\\``."""


class WindowsHost:
    """See ``sidecar.host.base.Host``."""

    def __init__(self, run_id: str, *, parent_watched: bool, child_died: Callable[[], None]) -> None:
        """Put ourselves into a job. Call ``child_died`` for each death below us, on threads of our own."""
        self._run_id = run_id
        self._parent_watched = parent_watched
        self._child_died = child_died
        self._trees: dict[str, windows_tree.Tree] = {}
        self.own_job = _enter_job()
        self._port = winapi.create_port()
        self._console = winapi.has_console()
        start_thread("jobs", self._listen)

    def guarantees(self) -> Guarantees:
        """See ``Host``."""
        return Guarantees(
            platform="windows",
            guard=False,
            subreaper=False,
            parent_death_signal=False,
            parent_watch="handle" if self._parent_watched else "none",
            control_group=False,
            job_object=self.own_job is not None,
            run_cookie=False,
            stdin_guard=stdin_guard.exists(),
        )

    def spawn(self, service: str, launch: Launch) -> Child:
        """See ``Host``. The program is in its job before it runs. It inherits no handles but its three pipes."""
        refuse_pid_namespace(service, launch)
        if len(launch.cwd) > LONGEST_FOLDER:
            raise ProcessSpawnFailedError(
                f"{service}: the path of {launch.cwd} has {len(launch.cwd)} characters, and Windows runs no program in "
                f"one with more than {LONGEST_FOLDER}. Move the project nearer to the drive's root (see 'subst').",
                service=service,
                program=launch.argv[0],
            )
        # names in upper case, or Path would become a second variable beside our PATH
        own = {name.upper(): value for name, value in launch.env.items()}
        env = child_environment(own, {RUN_ID: self._run_id, SERVICE: service})
        ours: list[int] = []
        theirs: list[int] = []
        try:
            for readable in (False, True, True):
                reader, writer = os.pipe()
                ours.append(reader if readable else writer)
                theirs.append(writer if readable else reader)
            tree = self._start(launch, env, theirs, ours[0])
        except (OSError, ValueError) as error:
            for fd in ours:
                os.close(fd)
            reason = error.strerror if isinstance(error, OSError) else str(error)
            raise ProcessSpawnFailedError(
                f"{launch.argv[0]} could not be started in {launch.cwd}: {reason}. "
                "Check the program and its permissions.",
                service=service,
                program=launch.argv[0],
            ) from None
        finally:
            for fd in theirs:
                os.close(fd)
        self._trees[service] = tree
        return Child(tree.pid, ours[1], ours[2])

    def _start(self, launch: Launch, env: dict[str, str], pipes: list[int], stdin: int) -> windows_tree.Tree:
        """Create the program suspended, so that it starts nothing before it is in its job. Raises ``OSError``."""
        handles = [msvcrt.get_osfhandle(fd) for fd in pipes]
        for handle in handles:
            os.set_handle_inheritable(handle, True)
        startup = subprocess.STARTUPINFO(
            dwFlags=subprocess.STARTF_USESTDHANDLES,
            hStdInput=handles[0],
            hStdOutput=handles[1],
            hStdError=handles[2],
            lpAttributeList={"handle_list": handles},
        )
        flags = CREATE_SUSPENDED | subprocess.CREATE_NEW_PROCESS_GROUP
        # the program shares our console (perhaps a hidden one), so that Ctrl-Break reaches it. If we have no console,
        # it gets its own hidden one
        flags |= 0 if self._console else subprocess.CREATE_NO_WINDOW
        # not Popen: it would close the thread's handle, which we need to resume the program
        process, thread, pid, _ = _winapi.CreateProcess(
            None,
            command_line(launch.argv),
            None,
            None,
            True,
            flags,
            env,
            launch.cwd,
            startup,
        )
        try:
            job = self._contain(process)
            _start_watch(process, self._child_died)
            winapi.resume(thread)
        except (OSError, SystemFailureError):
            _winapi.TerminateProcess(process, windows_tree.KILLED)
            raise
        finally:
            _winapi.CloseHandle(thread)
        return windows_tree.Tree(pid, process, job, stdin)

    def _contain(self, process: int) -> int | None:
        """Put the process into a job within our own; ``None`` if the system refuses (see ``members`` in ``job``)."""
        job = winapi.create_job()
        try:
            winapi.tell(job, self._port)
            winapi.assign(job, process)
        except OSError as error:
            # ERROR_ACCESS_DENIED: we are in another program's job, which allows no nested job
            say("warning", f"a service cannot be put into a job: {error.strerror}")
            _winapi.CloseHandle(job)
            return None
        return job

    def _listen(self) -> None:
        """A thread's body: wait for messages of the jobs. Nothing else reports that a job has become empty."""
        while True:
            winapi.wait_for_news(self._port)
            self._child_died()

    def terminate(self, service: str, signal: str) -> None:
        """See ``Host``. Send Ctrl-Break to the program's process group, then end its stdin. It may react to either.

        Windows has no other signals, so all names mean the same, except for SIGKILL, which kills the program.
        """
        tree = self._trees.get(service)
        if tree is None:
            return
        tree.asked = True
        if tree.code is not None or windows_tree.exit_code(tree.process) is not None:
            return
        if signal == "SIGKILL":
            windows_tree.terminate(tree.process)
            return
        try:
            winapi.ask_group(tree.pid)
        except OSError as error:
            # ERROR_INVALID_PARAMETER: it has died since the check; ERROR_INVALID_HANDLE: it has left our console
            say("debug", f"Ctrl-Break does not reach {service}: {error.strerror}")
        windows_tree.close_stdin(tree)

    def kill(self, service: str) -> None:
        """See ``Host``."""
        tree = self._trees.get(service)
        if tree is not None:
            tree.asked = False
            windows_tree.end(tree)

    def reap(self) -> list[Ended]:
        """See ``Host``."""
        ended = []
        for service, tree in list(self._trees.items()):
            if tree.code is None:
                tree.code = windows_tree.exit_code(tree.process)
            if not tree.left:
                if tree.code is None:
                    continue
                if not tree.asked:
                    windows_tree.end(tree)  # it ended by itself, or was killed, so all of its tree must die
                elif windows_tree.lives(tree):
                    continue
            del self._trees[service]
            windows_tree.close(tree)
            ended.append(windows_tree.ended(service, tree))
        return ended

    def kill_all(self) -> None:
        """See ``Host``."""
        trees, self._trees = self._trees, {}
        for tree in trees.values():
            windows_tree.strike(tree)
        for tree in trees.values():
            windows_tree.end(tree)
            windows_tree.close(tree)

    def owns(self, service: str, address: str, port: int) -> Owner:
        """See ``Host``."""
        tree = self._trees.get(service)
        if tree is None:
            return "foreign"
        try:
            pids = {pid for _, _, pid in reached_at(listeners(port), address)}
        except OSError as error:
            if error.errno in REFUSALS:
                raise
            return "unknown"
        members = _members({service: tree})
        return as_owner(_whose(pids, members, members))

    def owner_of(self, address: str, port: int) -> Claim:
        """See ``Host``."""
        try:
            # copies, because the main thread starts and ends services meanwhile
            before = _members(dict(self._trees))
            pids = {pid for _, _, pid in could_take(listeners(port), address)}
            return _whose(pids, before, _members(dict(self._trees)))
        except OSError as error:
            if error.errno in REFUSALS:
                raise
            return UNKNOWN  # the tables cannot be read, or a service has ended meanwhile

    def listening(self, service: str) -> tuple[tuple[str, int], ...] | None:
        """See ``Host``."""
        tree = self._trees.get(service)
        if tree is None:
            return ()
        try:
            table = winapi.listeners()
            pids = set(windows_tree.members(tree))
        except OSError:
            return None  # the tables cannot be read, or the service has ended meanwhile
        found = {(address, port) for address, port, pid in table if pid in pids}
        if not found and any(windows_tree.has_no_owner(pid) for _, _, pid in table):
            return None
        return tuple(sorted(found))

    def holder(self, port: int) -> Holder | None:
        """See ``Host``."""
        return holder_of(port, self._run_id)

    def memory(self, service: str) -> int | None:
        """See ``Host``."""
        tree = self._trees.get(service)
        if tree is None:
            return None
        import psutil

        total = 0
        for pid in windows_tree.members(tree):
            try:
                total += psutil.Process(pid).memory_info().rss
            except psutil.Error:
                continue  # it has ended since
        return total


def command_line(argv: tuple[str, ...]) -> str:
    """Join the words. Most programs split the line by the rules of C. cmd takes its line unchanged, in quotes."""
    if argv[1:-1] == TO_CMD:
        return f'{subprocess.list2cmdline(argv[:-1])} "{argv[-1]}"'
    return subprocess.list2cmdline(argv)


def _enter_job() -> int | None:
    """Make a job and enter it. We have its only handle and never close it: the system closes it when we die."""
    try:
        job = winapi.create_job()
        winapi.assign(job, _winapi.GetCurrentProcess())
    except OSError as error:
        # ERROR_ACCESS_DENIED: we are in another program's job, which allows no nested job
        say("warning", f"this process cannot have a job of its own: {error.strerror}")
        return None
    return job


def _start_watch(process: int, child_died: Callable[[], None]) -> None:
    """Report the program's own death. The watching thread owns a handle for this."""
    own = _winapi.GetCurrentProcess()
    handle = _winapi.DuplicateHandle(own, process, own, 0, False, _winapi.DUPLICATE_SAME_ACCESS)

    def watch() -> None:
        _winapi.WaitForSingleObject(handle, winapi.INFINITE)
        _winapi.CloseHandle(handle)
        child_died()

    start_thread(f"end of {process}", watch)


def _members(trees: dict[str, windows_tree.Tree]) -> Members:
    return {service: {(pid, 0) for pid in windows_tree.members(tree)} for service, tree in trees.items()}


def _whose(pids: set[int], before: Members, after: Members) -> Claim:
    """Tell which owner has all the sockets of ``pids``."""
    claims, left = of_services(pids, before, after)
    if left:
        claims.add(UNKNOWN if all(map(windows_tree.has_no_owner, left)) else FOREIGN)
    return joined(claims)


def holder_of(port: int, own_run_id: str | None = None) -> Holder | None:
    """Return what listens on the port; an empty ``Holder`` if the system does not name it (under Wine)."""
    found = listeners(port)
    if not found:
        return None
    pid = found[0][2]
    if not pid:
        return Holder()
    return Holder(pid, command_of(pid), _user(pid), ours=environment(pid).get(RUN_ID) not in {None, own_run_id})


def listeners(port: int) -> list[tuple[str, int, int]]:
    """Return (address, port, owner's pid) of each listening socket on the port."""
    return [it for it in winapi.listeners() if it[1] == port]


def _user(pid: int) -> str | None:
    import psutil

    try:
        return psutil.Process(pid).username()
    except (psutil.Error, OSError):
        return None  # it is gone, or hidden from us
