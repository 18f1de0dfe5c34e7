"""Windows: a kill-on-close job around ourselves, a job for each service in it, socket owners from the TCP table.

Our death, by any cause, closes the last handle of our own job, and with it ends all that was ever started below us:
nothing leaves a job that does not allow it. (What the tree asks others to start is not below us: services, WMI.)
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable

assert sys.platform == "win32"  # for mypy: what follows exists on Windows

import _winapi
import msvcrt

from sidecar.diagnostics import say
from sidecar.errors import ProcessSpawnFailedError, SystemFailureError
from sidecar.events import Launch, Owner
from sidecar.host.base import Child, Ended, refuse_pid_namespace
from sidecar.host.programs import TO_CMD, has_stdin_guard
from sidecar.host.shared import REFUSALS, RUN_ID, SERVICE, child_environment, command_of, reached_at
from sidecar.host.windows import tree as windows_tree
from sidecar.host.windows import winapi
from sidecar.threads import start_thread
from sidecar.wire.messages import Guarantees, Holder

CREATE_SUSPENDED = 0x4

LONGEST_FOLDER = 258
"""Of a program's current folder, whatever the system's setting for long paths: MAX_PATH, less the end and a ``\\``."""


class WindowsHost:
    """See ``sidecar.host.base.Host``."""

    def __init__(self, run_id: str, *, parent_watched: bool, child_died: Callable[[], None]) -> None:
        """Put ourselves into a job. ``child_died`` is told of every death below us, in a thread of our own."""
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
            stdin_guard=has_stdin_guard(),
        )

    def spawn(self, service: str, launch: Launch) -> Child:
        """See ``Host``. The program is put into its job before it runs; of our handles it gets its three pipes only."""
        refuse_pid_namespace(service, launch)
        if len(launch.cwd) > LONGEST_FOLDER:
            raise ProcessSpawnFailedError(
                f"{service}: the path of {launch.cwd} has {len(launch.cwd)} characters, and Windows runs no program in "
                f"one with more than {LONGEST_FOLDER}. Move the project nearer to the drive's root (see 'subst').",
                service=service,
                program=launch.argv[0],
            )
        # beside our PATH a Path would be a second one
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
        """Create it suspended, for else it could have started others before it is in its job. Raises ``OSError``."""
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
        # it shares our console, which may be a hidden one, so that Ctrl-Break reaches it. Where we have none it gets a
        # hidden one of its own
        flags |= 0 if self._console else subprocess.CREATE_NO_WINDOW
        # not Popen, which would close the thread's handle, by which alone it can be let run
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
        """A job with the process in it, within our own; ``None`` where the system refuses (see ``_members``)."""
        job = winapi.create_job()
        try:
            winapi.tell(job, self._port)
            winapi.assign(job, process)
        except OSError as error:
            # ERROR_ACCESS_DENIED: we are in a job of others that allows none within
            say("warning", f"a service cannot be put into a job: {error.strerror}")
            _winapi.CloseHandle(job)
            return None
        return job

    def _listen(self) -> None:
        """A thread's body: what jobs tell. That one is empty nobody else would say."""
        while True:
            winapi.wait_for_news(self._port)
            self._child_died()

    def terminate(self, service: str, signal: str) -> None:
        """See ``Host``. Ctrl-Break to the program's process group, then the end of its stdin: one of these it may heed.

        There are no other signals here: but for SIGKILL, which ends it, ``signal`` does not matter.
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
            # ERROR_INVALID_PARAMETER: it has died since; ERROR_INVALID_HANDLE: it has left our console
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
                    windows_tree.end(tree)  # it ended by itself, or was killed: nothing of it may live on
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
        if not pids:
            return "foreign"
        others = pids.difference(windows_tree.members(tree))
        if not others:
            return "ours"
        return "unknown" if all(map(windows_tree.has_no_owner, others)) else "foreign"

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
                continue  # it went since the look
        return total


def command_line(argv: tuple[str, ...]) -> str:
    """The words as one text. Programs take it apart as C does, but cmd takes a line as it is, between two quotes."""
    if argv[1:-1] == TO_CMD:
        return f'{subprocess.list2cmdline(argv[:-1])} "{argv[-1]}"'
    return subprocess.list2cmdline(argv)


def _enter_job() -> int | None:
    """A job with us in it. Its only handle is ours, and is never closed: the system does that when we die."""
    try:
        job = winapi.create_job()
        winapi.assign(job, _winapi.GetCurrentProcess())
    except OSError as error:
        # ERROR_ACCESS_DENIED: we are in a job of others that allows none within
        say("warning", f"this process cannot have a job of its own: {error.strerror}")
        return None
    return job


def _start_watch(process: int, child_died: Callable[[], None]) -> None:
    """Tell of a program's own death, by a handle that is the watching thread's."""
    own = _winapi.GetCurrentProcess()
    handle = _winapi.DuplicateHandle(own, process, own, 0, False, _winapi.DUPLICATE_SAME_ACCESS)

    def watch() -> None:
        _winapi.WaitForSingleObject(handle, winapi.INFINITE)
        _winapi.CloseHandle(handle)
        child_died()

    start_thread(f"end of {process}", watch)


def holder_of(port: int, own_run_id: str | None = None) -> Holder | None:
    """Who listens on the port; of one that the system does not name (under Wine), only that it is there."""
    found = listeners(port)
    if not found:
        return None
    pid = found[0][2]
    if not pid:
        return Holder()
    return Holder(pid, command_of(pid), _user(pid), ours=environment(pid).get(RUN_ID) not in {None, own_run_id})


def environment(pid: int) -> dict[str, str]:
    """The variables that the process began with; none where it is gone, or hidden from us."""
    import psutil

    try:
        return psutil.Process(pid).environ()
    except (psutil.Error, OSError):
        return {}  # it is gone, or another user's; OSError: it is of a kind that psutil cannot read


def listeners(port: int) -> list[tuple[str, int, int]]:
    """(address, port, owner's pid) of who listens on it."""
    return [it for it in winapi.listeners() if it[1] == port]


def _user(pid: int) -> str | None:
    import psutil

    try:
        return psutil.Process(pid).username()
    except (psutil.Error, OSError):
        return None  # it is gone, or hidden from us
