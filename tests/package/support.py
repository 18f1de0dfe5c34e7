"""An overlay of this machine to install on, a virtual screen, and an installed app to run."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Self

if sys.platform != "linux":
    raise ImportError("Debian packages and mount namespaces are Linux's")

from tests.support.liveness import await_end, marked, open_pidfd, send
from tests.support.waiting import WAIT_S, until

APP = "sidecar-example"
SERVICE = "api"
"""The service in the package (app.conf.json)."""

OVERLAY = """
set -e
mount -t tmpfs tmpfs "$1"
mkdir "$1/upper" "$1/work" "$1/root"
mount -t overlay overlay -o "lowerdir=/,upperdir=$1/upper,workdir=$1/work" "$1/root"
for it in dev proc sys tmp; do mount --rbind "/$it" "$1/root/$it"; done
echo made
cat
"""


@contextmanager
def machine(folder: Path) -> Iterator[list[str]]:
    """What to put before a command to run it, as root, on a copy of this machine that is gone with the test.

    The copy is an overlay in a mount namespace: what is written goes into memory. Processes, the network and /tmp are
    this machine's own.
    """
    place = folder / "machine"
    place.mkdir()
    words = ["unshare", "--mount", "sh", "-c", OVERLAY, "sh", str(place)]
    with subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=0) as holder:
        try:
            assert holder.stdout is not None
            assert holder.stdout.readline() == b"made\n"
            yield ["nsenter", f"--target={holder.pid}", "--mount", "chroot", str(place / "root")]
        finally:
            assert holder.stdin is not None
            holder.stdin.close()  # the namespace, and all that is mounted in it, goes with the last process in it


@contextmanager
def screen() -> Iterator[str]:
    """The name of a display that nobody sees."""
    read, write = os.pipe()
    words = ["Xvfb", "-displayfd", str(write), "-screen", "0", "1024x768x24", "-nolisten", "tcp"]
    with subprocess.Popen(words, pass_fds=[write], stderr=subprocess.DEVNULL) as server, os.fdopen(read) as told:
        try:
            os.close(write)
            number = told.readline().strip()
            assert number, "Xvfb has ended"
            yield f":{number}"
        finally:
            server.terminate()


class App:
    """An app that runs, with all that it has started; found by a mark in their environment, and held by pidfds."""

    def __init__(self, folder: Path, display: str, command: Sequence[str]) -> None:
        """Start it."""
        self._held: dict[int, str] = {}
        self.mark = f"app-{os.urandom(12).hex()}"
        self.state = folder / "state"
        self.temporary, self.home = folder / "temporary", folder / "home"
        self.temporary.mkdir()
        self.home.mkdir()
        env = {name: value for name, value in os.environ.items() if not name.startswith(("XDG_", "WAYLAND_", "DBUS_"))}
        env |= {"HOME": str(self.home), "TMPDIR": str(self.temporary), "SIDECAR_STATE_DIR": str(self.state)}
        env |= {"DISPLAY": display, "LIBGL_ALWAYS_SOFTWARE": "1", "WEBKIT_DISABLE_COMPOSITING_MODE": "1"}
        # no session bus, and none started for it: that would be nobody's, and live on
        env |= {"DBUS_SESSION_BUS_ADDRESS": "disabled:", "NO_AT_BRIDGE": "1", "GSETTINGS_BACKEND": "memory"}
        self.process = subprocess.Popen([*command], env={**env, "MARK": self.mark}, cwd=folder, start_new_session=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for pid, name in self.programs().items():
            self._hold(pid, name)
        for pidfd in self._held:
            send(pidfd, signal.SIGKILL)
            os.close(pidfd)
        self.process.wait(WAIT_S)

    def _hold(self, pid: int, name: str) -> None:
        pidfd = open_pidfd(pid)
        if pidfd is not None:
            self._held[pidfd] = name

    def programs(self) -> dict[int, str]:
        """The name of each of its processes, itself included."""
        found = {}
        for pid in marked(self.mark):
            try:
                found[pid] = Path(f"/proc/{pid}/comm").read_text(encoding="utf-8").strip()
            except OSError:
                continue  # it has ended since the listing
        return found

    def unpacked(self) -> list[Path]:
        """What a sidecar of one file has unpacked and not removed: in the app's cache, or with the temporary files."""
        return [*self.home.rglob("_MEI*"), *self.temporary.glob("_MEI*")]

    def await_page(self) -> None:
        """Wait until it has a webview: the plugin was set up before."""
        until(lambda: any(name.startswith("WebKitWebProc") for name in self.programs().values()), "a webview")

    def await_service(self) -> int:
        """Wait until its service runs; the pid."""
        found: list[int] = []

        def runs() -> bool:
            found[:] = [pid for pid in marked(f"SIDECAR_SERVICE={SERVICE}\0") if pid in self.programs()]
            return bool(found)

        until(runs, "the service")
        return found[0]

    def kill(self) -> None:
        """SIGKILL the app alone; all that it had is dead after that."""
        for pid, name in self.programs().items():
            self._hold(pid, name)
        self.process.kill()
        for pidfd, name in self._held.items():
            await_end(pidfd, name)
        self.process.wait()
        until(lambda: not marked(self.mark), "the end of all that has the app's mark")


def live_and_die(folder: Path, display: str, command: Sequence[str]) -> None:
    """Run the app until its service runs, kill it, and see that nothing is left."""
    with App(folder, display, command) as app:
        service = app.await_service()
        app.await_page()
        assert os.readlink(f"/proc/{service}/cwd").endswith(f"/usr/lib/{APP}")  # where its resources are
        assert "sidecar-guard" in app.programs().values()
        assert len(app.unpacked()) == 1
        app.kill()
    assert list((app.state / "runs").iterdir()) == []
    assert app.unpacked() == []
