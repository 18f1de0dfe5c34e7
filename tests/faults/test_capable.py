"""Programs with file capabilities, such as node after ``setcap``: their user cannot read their /proc/PID/fd."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

if sys.platform != "linux":
    pytest.skip("file capabilities are Linux's", allow_module_level=True)

from sidecar.core.events import Launch
from sidecar.host.linux import sockets
from tests.faults.direct import Direct
from tests.faults.test_system_limits import AS_NOBODY, NOBODY, only_root
from tests.host.served import RealHost
from tests.support.command import Message, Refused
from tests.support.ports import free_port
from tests.support.waiting import until

PERL = shutil.which("perl")
LISTEN = (
    "use Socket; socket(S, PF_INET, SOCK_STREAM, 0); setsockopt(S, SOL_SOCKET, SO_REUSEADDR, 1);"
    "bind(S, pack_sockaddr_in($ENV{PORT}, INADDR_LOOPBACK)) && listen(S, 9) || die; while (accept(C, S)) { close(C) }"
)


@pytest.fixture
def capable(tmp_path: Path) -> Iterator[str]:
    """Copy perl into a folder that every user can read, and let it bind any port."""
    if PERL is None or shutil.which("setcap") is None:
        pytest.skip("perl or setcap is missing")
    tmp_path.chmod(0o777)
    (tmp_path / "state").mkdir()
    os.chown(tmp_path / "state", int(NOBODY), int(NOBODY))
    with tempfile.TemporaryDirectory() as folder:
        os.chmod(folder, 0o755)
        program = shutil.copy(PERL, os.path.join(folder, "capable"))
        if subprocess.run(["setcap", "cap_net_bind_service=+ep", program], check=False).returncode:
            pytest.skip("this file system has no file capabilities")
        yield str(program)


def listener(program: str, **more: object) -> Message:
    """Return a service that is ready when its port answers."""
    port = {"env": "PORT", "sticky": False}
    command = [program, "-e", LISTEN]
    return {"type": "command", "command": command, "port": port, "ready": {"type": "tcp"}, "cwd": "/", **more}


@only_root
def test_it_is_ready_though_its_sockets_cannot_be_looked_at(tmp_path: Path, capable: str) -> None:
    with Direct(tmp_path, prefix=AS_NOBODY) as it:
        it.serve({"web": listener(capable)})
        assert it.client.status("web")["state"] == "ready"
        it.client.call("shutdown")
        assert it.exit_code() == 0


@contextmanager
def running(host: RealHost, program: str, code: str, port: int) -> Iterator[None]:
    """Spawn the program, and wait until it has printed its first line."""
    code = f"$| = 1; {code}".replace("listen(S, 9) || die;", 'listen(S, 9) || die; print "up\\n";')
    child = host.spawn("web", Launch((program, "-e", code), "/", {"PORT": str(port)}))
    try:
        assert os.read(child.stdout, 3) == b"up\n"
        yield
    finally:
        os.close(child.stdout)
        os.close(child.stderr)


@only_root
def test_its_listener_may_be_its_own_and_nothing_more_can_be_said(capable: str) -> None:
    port = free_port()
    with RealHost(prefix=AS_NOBODY) as host, running(host, capable, LISTEN, port):
        assert host.owns("web", "127.0.0.1", port) == "unknown"
        assert host.listening("web") is None
        assert host.owns("web", "127.0.0.1", free_port()) == "foreign", "no process listens there"


@only_root
def test_what_a_child_of_it_shows_is_the_trees(capable: str) -> None:
    """``sudo`` is unreadable in the same way. The programs that it starts often are not."""
    port = free_port()
    code = f"unless (fork) {{ exec '{PERL}', '-e', q!$| = 1; {LISTEN}! }} sleep 100"
    with RealHost(prefix=AS_NOBODY) as host, running(host, capable, code, port):
        assert host.owns("web", "127.0.0.1", port) == "ours"
        assert host.listening("web") == (("127.0.0.1", port),)


@only_root
def test_a_port_that_it_shares_with_another_program_is_not_its_own(capable: str) -> None:
    port = free_port()
    shared = LISTEN.replace("SO_REUSEADDR", "SO_REUSEPORT")
    command = [*AS_NOBODY, str(PERL), "-e", shared]
    with (
        RealHost(prefix=AS_NOBODY) as host,
        running(host, capable, shared, port),
        subprocess.Popen(command, env={**os.environ, "PORT": str(port)}, cwd="/") as stranger,
    ):
        try:
            until(lambda: len(sockets.listeners(port)) == 2, "the stranger")
            assert host.owns("web", "127.0.0.1", port) == "foreign"
        finally:
            stranger.kill()  # not reaped yet


@only_root
@pytest.mark.parametrize("user", [AS_NOBODY, ()], ids=["the same user", "another user"])
def test_another_programs_listener_is_surely_not_its_own(capable: str, user: tuple[str, ...]) -> None:
    port = free_port()
    idle = 'print "up\\n"; sleep 100'
    command = [*user, str(PERL), "-e", LISTEN]
    with (
        RealHost(prefix=AS_NOBODY) as host,
        running(host, capable, idle, port),
        subprocess.Popen(command, env={**os.environ, "PORT": str(port)}, cwd="/") as stranger,
    ):
        try:
            until(lambda: sockets.listeners(port), "the stranger")
            assert host.owns("web", "127.0.0.1", port) == "foreign"
            assert host.listening("web") == ()
        finally:
            stranger.kill()  # not reaped yet


@only_root
@pytest.mark.parametrize("user", [AS_NOBODY, ()], ids=["the same user", "another user"])
def test_what_another_program_has_is_not_taken_for_its_own(tmp_path: Path, capable: str, user: tuple[str, ...]) -> None:
    idle = {**listener(capable), "command": [capable, "-e", "sleep 100"], "readyTimeoutMs": 86_400_000}
    with Direct(tmp_path, prefix=AS_NOBODY) as it:
        it.client.hello({"web": idle})
        call = it.client.send("start", service="web")
        until(lambda: it.client.status("web").get("pid"), "the program")
        port = str(it.client.status("web")["port"])
        command = [*user, str(PERL), "-e", LISTEN]
        with subprocess.Popen(command, env={**os.environ, "PORT": port}, cwd="/") as stranger:
            try:
                until(lambda: sockets.listeners(int(port)), "the stranger, which could be mistaken for the service")
                it.client.note("service/waiting", since=len(it.client.said))
                it.client.call("stop", service="web")
                with pytest.raises(Refused) as refused:
                    it.client.answer(call)
                assert refused.value.kind == "Superseded"
            finally:
                stranger.kill()  # not reaped yet
