"""Run commands of the sidecar with little memory, and record what they open, list, stat, start and change.

    watched.py CASES SOURCE

CASES is a JSON list of objects: ``cwd``, ``words``, ``env``, and the files ``notes``, ``out``, ``err`` and ``code``.
Each command runs in a fork. A line of ``notes`` is one access: its kind, the resolved path, and the source file of ours
that made it. The same access is noted once.
"""

from __future__ import annotations

import functools
import json
import os
import resource
import sys
from collections.abc import Callable
from pathlib import Path
from types import FrameType, SimpleNamespace
from typing import Any

assert sys.platform != "win32"  # for mypy: no forks and no limits there

MEMORY_MOST = 1 << 29
"""Memory limit: far less than the size of the test's files. Some libraries reserve more than they use."""

_CHANGES = {
    *("os.mkdir", "os.rename", "os.remove", "os.rmdir", "os.chmod", "os.chown", "os.link", "os.symlink"),
    *("os.truncate", "os.utime"),
}
_STARTS = {"subprocess.Popen", "os.exec", "os.posix_spawn", "os.spawn", "os.system"}
_WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND


_real_folder = functools.cache(os.path.realpath)
"""No command makes or replaces a folder that it has looked into before."""


def _real(name: str, *, follow: bool) -> str:
    """Return the real path of a file; of a link itself, unless it is to be followed."""
    folder, last = os.path.split(name)
    if last in {"", ".", ".."}:
        return os.path.realpath(name)
    real = os.path.join(_real_folder(folder), last)
    return os.path.realpath(real) if follow and os.path.islink(real) else real


class Notes:
    """Records this process's accesses."""

    def __init__(self, file: str, source: str) -> None:
        self._out = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        self._ours = os.path.join(source, "sidecar") + os.sep
        self._busy = False
        self._noted: set[bytes] = set()

    def note(self, kind: str, path: Any, *, follow: bool = True, **more: object) -> None:
        if self._busy or not isinstance(path, (str, bytes, os.PathLike)):
            return  # a descriptor, or an access by this recorder
        if os.fsdecode(path).startswith("/proc/") and "/self/cwd" not in os.fsdecode(path):
            return  # the processes of this machine
        self._busy = True
        try:
            name = os.path.join(os.getcwd(), os.fsdecode(path))
            line = {"kind": kind, "path": _real(name, follow=follow), "caller": self._caller(), **more}
            told = json.dumps(line).encode() + b"\n"
            if told not in self._noted:
                self._noted.add(told)
                os.write(self._out, told)
        except ValueError:
            pass  # a name with a null byte reaches no file system
        finally:
            self._busy = False

    def _caller(self) -> str:
        frame: FrameType | None = sys._getframe(2)
        while frame is not None and not frame.f_code.co_filename.startswith(self._ours):
            frame = frame.f_back
        return frame.f_code.co_filename.removeprefix(self._ours) if frame is not None else ""

    def hear(self, event: str, arguments: tuple[Any, ...]) -> None:
        if event == "open":
            self.note("open", arguments[0], changes=bool((arguments[2] or 0) & _WRITING))
        elif event in {"os.listdir", "os.scandir"}:
            self.note("list", arguments[0])
        elif event in _CHANGES:
            self.note(event, arguments[0], follow=False, changes=True)
            if event in {"os.rename", "os.link", "os.symlink"}:
                self.note(event, arguments[1], follow=False, changes=True)
        elif event in _STARTS:
            folder = arguments[2] if event == "subprocess.Popen" else None
            words = [os.fsdecode(word) for word in arguments[1]] if event != "os.system" else []
            self.note("start", arguments[0], words=words, cwd=os.path.join(os.getcwd(), os.fsdecode(folder or "")))

    def watch(self, name: str, *, follows: bool) -> None:
        """Record calls of ``os.NAME``, such as stat, for which Python has no audit event."""
        function: Callable[..., Any] = getattr(os, name)

        def watched(path: Any, *rest: Any, **more: Any) -> Any:
            self.note("look", path, follow=follows and more.get("follow_symlinks", True))
            return function(path, *rest, **more)

        setattr(os, name, watched)


def look_as_dev(root: str) -> int:
    """Do what ``sidecar dev`` does to examine a project, up to the first start."""
    from sidecar.commands.dev.serve import choose_services
    from sidecar.diagnostics import say
    from sidecar.errors import SidecarError
    from sidecar.services import launch

    try:
        _, services = choose_services(root, [], None, None, colour=False)
        for name, service in services.items():
            launch.port_config(service)
            say("warning", f"it would start {launch.plan(name, service, lambda text: say('warning', text)).argv}")
    except SidecarError as error:
        say("error", error.message)
        return 1
    return 0


def run(case: SimpleNamespace, source: str) -> int:
    """Run the command of one case."""
    os.chdir(case.cwd)
    os.environ.clear()
    os.environ.update(case.env)
    for number, file in ((1, case.out), (2, case.err)):
        os.dup2(os.open(file, os.O_WRONLY | os.O_CREAT, 0o600), number)
    notes = Notes(case.notes, source)
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_MOST, MEMORY_MOST))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    for name in ("stat", "access"):
        notes.watch(name, follows=True)
    for name in ("lstat", "readlink"):
        notes.watch(name, follows=False)
    sys.addaudithook(notes.hear)
    from sidecar.cli import main as command

    return look_as_dev(*case.words[1:]) if case.words[0] == "dev" else command(case.words)


def main() -> None:
    """Run all cases, one after the other."""
    cases, source = sys.argv[1:]
    sys.path.insert(0, source)
    import sidecar.cli
    import sidecar.commands.dev.serve
    import sidecar.commands.dispatch
    import sidecar.commands.doctor.report
    import sidecar.commands.init.command

    del sidecar  # loaded once for all cases
    for each in json.loads(Path(cases).read_text(encoding="utf-8")):
        case = SimpleNamespace(**each)
        child = os.fork()
        if child == 0:
            code = 70
            try:
                code = run(case, source)
            except SystemExit as end:
                code = end.code if isinstance(end.code, int) else 1
            except BaseException:
                import traceback

                traceback.print_exc()
            finally:
                sys.stdout.flush()
                sys.stderr.flush()
                os._exit(code)
        _, status = os.waitpid(child, 0)
        Path(case.code).write_text(str(os.waitstatus_to_exitcode(status)), encoding="ascii")


if __name__ == "__main__":
    main()
