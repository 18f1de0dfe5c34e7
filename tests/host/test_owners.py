"""Whose a listening socket is where the system hides that, and where a tree listens that was told another port."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

if sys.platform != "linux":
    pytest.skip("/proc, namespaces, and the stand-in for macOS", allow_module_level=True)

from sidecar.events import Launch
from sidecar.host.linux import sockets
from tests.host.bsd import skip_without_forks
from tests.host.served import CLOSED, NO_LSOF, RealHost
from tests.ports import free_port

PROGRAM = (sys.executable, "-I", "-S", str(Path(__file__).resolve().parents[1] / "children" / "program.py"))

NO_PROC = ("unshare", "-m", "sh", "-c", 'mount -t tmpfs none /proc && exec "$@"', "sh")
OTHER_PROC = ("unshare", "--pid", "--fork", "--kill-child")


def needs(*prefix: str) -> None:
    """Skip the test where a program cannot be run in this way."""
    if (
        shutil.which(prefix[0]) is None
        or subprocess.run([*prefix, "true"], capture_output=True, check=False).returncode
    ):
        pytest.skip("namespaces cannot be made here")


@contextmanager
def running(host: RealHost, *words: str, service: str = "web") -> Iterator[int]:
    """A service that has done what the words say; its pid."""
    child = host.spawn(service, Launch((*PROGRAM, *words, "print:up", "hold"), "/", {}))
    try:
        assert os.read(child.stdout, 3) == b"up\n"
        yield child.pid
    finally:
        os.close(child.stdout)
        os.close(child.stderr)


@pytest.mark.parametrize("prefix", [NO_PROC, OTHER_PROC], ids=["no /proc", "another pid namespace's /proc"])
def test_without_a_proc_of_our_own_a_listener_may_be_ours(prefix: tuple[str, ...]) -> None:
    needs(*prefix)
    port = free_port()
    with RealHost(prefix=prefix) as host, running(host, f"listen:127.0.0.1={port}"):
        assert host.owns("web", "127.0.0.1", port) == "unknown"
        assert host.listening("web") is None
        assert host.owns("api", "127.0.0.1", port) == "foreign", "no such service runs"
        assert host.listening("api") == ()


def test_with_another_namespaces_proc_no_strangers_number_is_looked_at() -> None:
    """Our pid inside is another process's in that /proc; its sockets are not our program's."""
    needs(*OTHER_PROC)
    with RealHost(prefix=OTHER_PROC) as host, running(host), socket.create_server(("127.0.0.1", 0)) as stranger:
        assert host.owns("web", "127.0.0.1", stranger.getsockname()[1]) == "unknown"
        assert host.owns("web", "127.0.0.1", free_port()) == "foreign", "the kernel's table shows that nobody listens"


def test_a_listener_that_we_and_a_stranger_have_is_not_ours() -> None:
    """SO_REUSEPORT lets both listen at one address; a connection comes to either."""
    port = free_port()
    with RealHost() as host, socket.socket() as stranger:
        stranger.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        stranger.bind(("127.0.0.1", port))
        stranger.listen()
        code = (
            "import socket; s = socket.socket(); s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1);"
            f"s.bind(('127.0.0.1', {port})); s.listen(); print('up', flush=True); s.accept()"
        )
        child = host.spawn("web", Launch((sys.executable, "-I", "-S", "-c", code), "/", {}))
        assert os.read(child.stdout, 3) == b"up\n"
        assert host.owns("web", "127.0.0.1", port) == "foreign"
        assert host.listening("web") == (("127.0.0.1", port),)
        os.close(child.stdout)
        os.close(child.stderr)


def test_a_tree_without_a_listener_listens_nowhere_though_others_do() -> None:
    with RealHost() as host, running(host, "child"), socket.create_server(("127.0.0.1", 0)):
        assert host.listening("web") == ()


def test_a_daemon_of_a_dead_program_still_listens() -> None:
    """As a server does whose launcher has gone; its socket was never the launcher's."""
    port = free_port()
    code = (
        "import os, socket, sys\n"
        "if os.fork(): os._exit(0)\n"
        "os.setsid()\n"
        f"s = socket.create_server(('::1', {port}), family=socket.AF_INET6); print('up', flush=True); s.accept()"
    )
    with RealHost() as host:
        child = host.spawn("web", Launch((sys.executable, "-I", "-S", "-c", code), "/", {}))
        assert os.read(child.stdout, 3) == b"up\n"
        assert host.owns("web", "::1", port) == "ours"
        assert host.listening("web") == (("::1", port),)
        os.close(child.stdout)
        os.close(child.stderr)


# ── a process whose descriptors are closed to us ─────────────────────────────────────────────────────────────────────


@pytest.fixture
def closed(monkeypatch: pytest.MonkeyPatch) -> int:
    """The pid of a process of this user that lets nobody look into it, as it is seen here."""
    pid = 1 << 22
    monkeypatch.setattr(sockets, "user_of_closed", lambda it: os.geteuid() if it == pid else None)
    return pid


def test_an_unseen_socket_of_the_same_user_may_be_a_closed_process(closed: int) -> None:
    user = os.geteuid()
    with socket.create_server(("127.0.0.1", 0)) as ours:
        seen = str(os.fstat(ours.fileno()).st_ino)
        users = {"1": user, "2": user + 1, seen: user}
        assert sockets.possibly_of([closed, 1 << 23], users) == {"1"}
        assert sockets.possibly_of([1 << 23], users) == set()


# ── macOS ────────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_without_lsof_a_listener_may_be_ours() -> None:
    skip_without_forks()
    port = free_port()
    with RealHost(NO_LSOF) as host, running(host, f"listen:127.0.0.1={port}"):
        assert host.owns("web", "127.0.0.1", port) == "unknown"
        assert host.listening("web") is None
        assert host.owns("api", "127.0.0.1", port) == "foreign"


def test_lsof_does_not_show_a_listener_that_became_another_users() -> None:
    skip_without_forks()
    port = free_port()
    with RealHost(CLOSED) as host, running(host):
        assert host.owns("web", "127.0.0.1", port) == "unknown"
        assert host.listening("web") is None
        with socket.create_server(("127.0.0.1", port)):
            assert host.owns("web", "127.0.0.1", port) == "foreign", "lsof shows a stranger"
        with running(host, f"listen:127.0.0.1={port}", service="api"):
            assert host.owns("api", "127.0.0.1", port) == "ours"
            assert host.listening("api") == (("127.0.0.1", port),)
