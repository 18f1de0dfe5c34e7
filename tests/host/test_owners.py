"""Who owns a listening socket if the system hides that, and on which ports a tree really listens."""

from __future__ import annotations

import itertools
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
    pytest.skip("/proc, namespaces, and the emulated macOS kernel", allow_module_level=True)

from sidecar.core.events import Launch
from sidecar.host.base import FOREIGN, NOBODY, UNKNOWN, Claim
from sidecar.host.linux import host as linux
from sidecar.host.linux import sockets
from tests.host.bsd import skip_without_forks
from tests.host.served import CLOSED, LSOF, NO_LSOF, RealHost
from tests.support.ports import free_port

PROGRAM = (sys.executable, "-I", "-S", str(Path(__file__).resolve().parents[1] / "children" / "program.py"))

NO_USER = 65534

NO_PROC = ("unshare", "-m", "sh", "-c", 'mount -t tmpfs none /proc && exec "$@"', "sh")
OTHER_PROC = ("unshare", "--pid", "--fork", "--kill-child")


def needs(*prefix: str) -> None:
    """Skip the test if this machine cannot run a program with this prefix."""
    if (
        shutil.which(prefix[0]) is None
        or subprocess.run([*prefix, "true"], capture_output=True, check=False).returncode
    ):
        pytest.skip("namespaces cannot be made here")


@contextmanager
def running(host: RealHost, *words: str, service: str = "web") -> Iterator[int]:
    """Run a service until it has done what the words say; yield its pid."""
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
        assert host.owner_of("127.0.0.1", port) == UNKNOWN
        assert host.listening("web") is None
        assert host.owns("api", "127.0.0.1", port) == "foreign", "no such service runs"
        assert host.listening("api") == ()


def test_with_another_namespaces_proc_no_strangers_number_is_looked_at() -> None:
    """In that /proc our program's pid belongs to another process, whose sockets do not count."""
    needs(*OTHER_PROC)
    with RealHost(prefix=OTHER_PROC) as host, running(host), socket.create_server(("127.0.0.1", 0)) as stranger:
        assert host.owns("web", "127.0.0.1", stranger.getsockname()[1]) == "unknown"
        assert host.owns("web", "127.0.0.1", free_port()) == "foreign", "the kernel's table has no listener"


def shared(address: str, port: int) -> socket.socket:
    """Return a listener with SO_REUSEPORT: other processes of this user can bind its address, too."""
    listener = socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    listener.bind((address, port))
    listener.listen()
    return listener


@contextmanager
def sharing(host: RealHost, address: str, port: int, service: str = "web") -> Iterator[None]:
    """Run a service that listens with SO_REUSEPORT."""
    family = "AF_INET6" if ":" in address else "AF_INET"
    code = (
        f"import socket; s = socket.socket(socket.{family}); s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1);"
        f"s.bind(('{address}', {port})); s.listen(); print('up', flush=True); s.accept()"
    )
    child = host.spawn(service, Launch((sys.executable, "-I", "-S", "-c", code), "/", {}))
    try:
        assert os.read(child.stdout, 3) == b"up\n"
        yield
    finally:
        os.close(child.stdout)
        os.close(child.stderr)


def test_a_listener_that_we_and_a_stranger_have_is_not_ours() -> None:
    """With SO_REUSEPORT both listen at one address, and the kernel picks one for each connection."""
    port = free_port()
    with RealHost() as host, shared("127.0.0.1", port), sharing(host, "127.0.0.1", port):
        assert host.owns("web", "127.0.0.1", port) == "foreign"
        assert host.owner_of("127.0.0.1", port) == FOREIGN
        assert host.listening("web") == (("127.0.0.1", port),)


@pytest.mark.parametrize(
    ("ours", "strangers"),
    [
        ("127.0.0.1", "0.0.0.0"),
        ("127.0.0.1", "::"),
        ("0.0.0.0", "127.0.0.1"),
        ("0.0.0.0", "::"),
        ("::", "127.0.0.1"),
        ("::", "0.0.0.0"),
    ],
)
def test_a_stranger_bound_more_or_less_closely_makes_an_address_foreign(ours: str, strangers: str) -> None:
    """Even a less specific listener takes the next connection once ours closes."""
    port = free_port()
    with RealHost() as host, sharing(host, ours, port):
        assert host.owner_of("127.0.0.1", port) == Claim("service", "web")
        with shared(strangers, port):
            assert host.owner_of("127.0.0.1", port) == FOREIGN
        assert host.owner_of("127.0.0.1", port) == Claim("service", "web")


def test_an_address_of_two_services_is_nobodys_in_particular() -> None:
    port = free_port()
    with RealHost() as host, sharing(host, "127.0.0.1", port), sharing(host, "0.0.0.0", port, "api"):
        assert host.owner_of("127.0.0.1", port) == UNKNOWN
        assert host.owner_of("127.0.0.2", port) == Claim("service", "api")


def test_another_users_listener_is_foreign_and_then_nobodys() -> None:
    """The kernel's table shows that user's socket, though we cannot read that user's descriptors."""
    if os.geteuid() != 0:
        pytest.skip("needs root to become another user")
    code = (
        "import os, socket; os.setgid(65534); os.setuid(65534); s = socket.create_server(('127.0.0.1', 0));"
        "print(s.getsockname()[1], flush=True); s.accept()"
    )
    thief = subprocess.Popen([sys.executable, "-I", "-S", "-c", code], stdout=subprocess.PIPE)
    with RealHost() as host, running(host):
        try:
            assert thief.stdout is not None
            port = int(thief.stdout.readline())
            assert host.owner_of("127.0.0.1", port) == FOREIGN
        finally:
            thief.kill()
            thief.communicate()
        assert host.owner_of("127.0.0.1", port) == NOBODY


def test_listeners_that_change_in_each_look_are_foreign(monkeypatch: pytest.MonkeyPatch) -> None:
    """Another user opens and closes sockets so fast that no listing shows a process with one of them."""
    inodes = map(str, itertools.count(1))
    monkeypatch.setattr(linux, "all_listeners", lambda: [("127.0.0.1", 4000, next(inodes), NO_USER)])
    host = linux.LinuxHost.__new__(linux.LinuxHost)  # not __init__, which would make the test a subreaper
    host._trees = {}
    assert host.owner_of("127.0.0.1", 4000) == FOREIGN


def test_a_tree_without_a_listener_listens_nowhere_though_others_do() -> None:
    with RealHost() as host, running(host, "child"), socket.create_server(("127.0.0.1", 0)):
        assert host.listening("web") == ()


def test_a_daemon_of_a_dead_program_still_listens() -> None:
    """Such as a server whose launcher has exited. The launcher never had the socket."""
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


# ── a process whose descriptors we cannot read ───────────────────────────────────────────────────────────────────────


@pytest.fixture
def closed(monkeypatch: pytest.MonkeyPatch) -> int:
    """Fake an unreadable process of this user; return its pid."""
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


@pytest.mark.parametrize("kind", ["darwin", LSOF])
def test_a_listener_of_the_tree_is_ours_and_a_strangers_is_not(kind: str) -> None:
    skip_without_forks()
    port = free_port()
    with RealHost(kind) as host, running(host, "child", f"grandchild:127.0.0.1={port}"):
        assert host.owns("web", "127.0.0.1", port) == "ours"
        assert host.listening("web") == (("127.0.0.1", port),)
        with socket.create_server(("127.0.0.1", 0)) as stranger:
            theirs = stranger.getsockname()[1]
            assert host.owns("web", "127.0.0.1", theirs) == "foreign"
            assert host.listening("web") == (("127.0.0.1", port),)
            holder = host.holder(theirs)
            assert holder is not None
            assert (holder.pid, holder.ours) == (os.getpid(), False)
        assert host.owns("web", "127.0.0.1", theirs) == "foreign", "no process listens"
        assert host.holder(theirs) is None


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
        assert host.owner_of("127.0.0.1", port) == UNKNOWN
        assert host.listening("web") is None
        with socket.create_server(("127.0.0.1", port)):
            assert host.owns("web", "127.0.0.1", port) == "foreign", "lsof shows a stranger"
        with running(host, f"listen:127.0.0.1={port}", service="api"):
            assert host.owns("api", "127.0.0.1", port) == "ours"
            assert host.listening("api") == (("127.0.0.1", port),)
