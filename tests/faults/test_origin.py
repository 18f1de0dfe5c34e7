"""While a thief takes the service's port, the sidecar never confirms the thief's origin and never reports its URL."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import pytest

if sys.platform != "linux":
    pytest.skip("SO_REUSEPORT, users and /proc as Linux has them", allow_module_level=True)

from tests.e2e.support import Sidecar, Thief
from tests.support.command import Message, Refused
from tests.support.ports import free_port
from tests.support.waiting import AT_GATE, make_gate, open_gate

THIEF = Path(__file__).resolve().parents[1] / "children" / "thief.py"
PYTHON = (sys.executable, "-I", "-S")
NOBODY = 65534
QUESTIONS = 300
AT_ONCE = 1_000
RESTART_EVERY = 20
DAY_MS = 86_400_000
ASK_S = 60.0
"""Time to ask. A slow machine answers fewer than ``QUESTIONS`` in it, and those are enough."""
LIFE_S = 240.0
"""Bound on waiting until the service and the thief have each had the port."""

SERVER = (
    "import os, socket, sys\n"
    "address, port, shared = sys.argv[1], int(sys.argv[2]), sys.argv[3] == '1'\n"
    "s = socket.socket(socket.AF_INET6 if ':' in address else socket.AF_INET)\n"
    "s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)\n"
    "if shared: s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)\n"
    "try: s.bind((address, port))\n"
    "except OSError: sys.exit(f'Error: Port {port} is already in use')\n"
    "s.listen(64)\n"
    "while True: s.accept()[0].close()\n"
)


def server(port: int, *, shared: bool = False) -> Message:
    """Return a service that insists on the port, and restarts at once."""
    command = [*PYTHON, "-c", SERVER, "127.0.0.1", "{port}", "1" if shared else "0"]
    return {
        "type": "command",
        "command": command,
        "port": {"preferred": port, "strict": True, "sticky": False},
        "ready": {"type": "tcp"},
        "health": {"intervalMs": 0},
        "stop": {"timeoutMs": 0},
        "restart": {"policy": "always", "backoff": {"initialMs": 1, "maxMs": 1}, "limit": 1_000_000},
    }


@contextmanager
def thief(
    address: str, port: int, uid: int, *, shared: bool
) -> Iterator[tuple[list[tuple[int, int]], Callable[[], object]]]:
    """Start a process that takes the port whenever it can.

    Yield a list and a function. Call the function after each answer to a question. When the context ends, the list gets
    the intervals in which the thief listened.
    """
    words = (address, str(port), str(uid), "1" if shared else "0")
    process = subprocess.Popen(
        [*PYTHON, str(THIEF), *words], stdin=subprocess.PIPE, stdout=subprocess.PIPE, start_new_session=True
    )
    held: list[tuple[int, int]] = []
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == b"up\n"
        assert process.stdin is not None
        yield held, partial(os.write, process.stdin.fileno(), b".")
    finally:
        said, _ = process.communicate()  # closes its stdin, which ends it
        held += [(int(begin), int(end)) for begin, end in map(bytes.split, said.splitlines())]
    assert process.returncode == 0


CASES = {
    "another user, our port": ("127.0.0.1", "127.0.0.1", NOBODY, False),
    "the same user, our port": ("127.0.0.1", "127.0.0.1", os.geteuid(), False),
    "another user, the other address of localhost": ("localhost", "::1", NOBODY, False),
    "the same user, all addresses": ("127.0.0.1", "0.0.0.0", os.geteuid(), True),
    "the same user, beside us on our port": ("127.0.0.1", "127.0.0.1", os.geteuid(), True),
}


@pytest.mark.timeout(300)
@pytest.mark.parametrize(("name", "address", "uid", "shared"), CASES.values(), ids=CASES)
def test_no_origin_is_confirmed_while_a_thief_has_it(
    tmp_path: Path, name: str, address: str, uid: int, shared: bool
) -> None:
    """Ask without a pause while the service is restarted.

    The thief writes down when it listened. If a question was asked and answered within such an interval, then the thief
    had the address all the time, and the answer must not be "service".
    """
    if os.geteuid() not in {uid, 0}:
        pytest.skip("only root may become another user")
    port = free_port()
    answers: list[tuple[int, int, str]] = []
    with Sidecar(tmp_path, {"web": server(port, shared=shared)}) as sidecar:
        with thief(address, port, uid, shared=shared) as (held, answered):
            begin = time.monotonic()
            restarted_at, restart = 0, sidecar.send("restart", service="web")
            while len({it[2] for it in answers} & {"service", "foreign"}) < 2 or (
                len(answers) < QUESTIONS and time.monotonic() < begin + ASK_S
            ):
                assert time.monotonic() < begin + LIFE_S, Counter(it[2] for it in answers)
                # on a busy machine a restart takes longer than so many questions, and the next one would undo it
                if len(answers) - restarted_at >= RESTART_EVERY and restart in sidecar.answered():
                    restarted_at, restart = len(answers), sidecar.send("restart", service="web")
                asked = time.monotonic_ns()
                answer = sidecar.call("checkOrigin", origin=f"http://{name}:{port}")
                answers.append((asked, time.monotonic_ns(), answer["owner"]))
                answered()
                assert (answer["owner"] == "service") is ("service" in answer)
        within = [owner for asked, told, owner in answers if any(begin <= asked and told <= end for begin, end in held)]
        assert within, "no question was answered while the thief listened"
        assert "service" not in within, Counter(within)
        assert "nobody" not in within, Counter(within)
        sidecar.call("stop", service="web")
        assert sidecar.call("checkOrigin", origin=f"http://{name}:{port}")["owner"] == "nobody"


def test_a_thousand_questions_at_once_are_each_answered_once(tmp_path: Path) -> None:
    port, other = free_port(), free_port()
    with Sidecar(tmp_path, {"web": server(port)}) as sidecar:
        sidecar.start()
        calls = [
            sidecar.send("checkOrigin", origin=f"http://127.0.0.1:{port if at % 2 else other}") for at in range(AT_ONCE)
        ]
        answers = [sidecar.answer(call) for call in calls]
        assert Counter(it["owner"] for it in answers) == {"service": AT_ONCE / 2, "nobody": AT_ONCE / 2}
        sidecar.status()
        answered = sidecar.answered()
        assert {call: answered[call] for call in calls} == dict.fromkeys(calls, 1)


READY: dict[str, Message] = {
    "log": {"type": "log", "pattern": "^listening$"},
    "delay": {"type": "delay", "ms": 0},
    "tcp": {"type": "tcp"},
    "http": {"type": "http", "status": "any"},
    "none": {},
}

MOVES_ON = (
    "import socket, sys\n"
    f"{AT_GATE}\n"
    "try: s = socket.create_server(('127.0.0.1', int(sys.argv[1])))\n"
    "except OSError: s = socket.create_server(('127.0.0.1', 0))\n"
    "print('listening', flush=True)\n"
    "while True: s.accept()[0].close()\n"
)
"""Vite's behaviour without --strictPort: if its port is taken, it takes another one, and reports that it is ready."""


@pytest.mark.parametrize("ready", READY.values(), ids=READY)
def test_a_service_that_moved_on_is_never_told_by_a_strangers_url(tmp_path: Path, ready: Message) -> None:
    port = free_port()
    gate = make_gate(tmp_path)
    service = {
        "type": "command",
        "command": [*PYTHON, "-c", MOVES_ON, "{port}"],
        "cwd": str(tmp_path),
        "port": {"preferred": port, "sticky": False},
        "readyTimeoutMs": DAY_MS,
        "restart": {"policy": "never"},
        **({"ready": ready} if ready else {}),
    }
    with Sidecar(tmp_path, {"web": service}) as sidecar:
        call = sidecar.send("start", service="web")
        assert sidecar.chosen_port()["port"] == port
        with Thief(port):
            open_gate(gate)
            sidecar.printed("listening")
            assert "url" not in sidecar.status()
            assert sidecar.call("checkOrigin", origin=f"http://127.0.0.1:{port}")["owner"] == "foreign"
            sidecar.note("service/waiting", since=sidecar.mark())  # it has checked since then, and still waits
            sidecar.call("stop", service="web")
            with pytest.raises(Refused) as refused:
                sidecar.answer(call)
            assert refused.value.kind == "Superseded"
        assert sidecar.notes("service/ready") == []
        assert "url" not in sidecar.status()


def test_a_url_is_told_only_while_the_service_is_up(tmp_path: Path) -> None:
    """After a crash, a stranger takes the port. The status while backing off or failed must not have the URL."""
    port = free_port()
    service = {
        **server(port),
        "restart": {"policy": "always", "backoff": {"initialMs": 86_400_000, "maxMs": 86_400_000}},
    }
    with Sidecar(tmp_path, {"web": service}) as sidecar:
        ready = sidecar.start()
        assert sidecar.status()["url"] == ready["url"]
        os.kill(ready["pid"], 9)
        sidecar.note("service/restarting")
        with socket.create_server(("127.0.0.1", port)):
            status = sidecar.status()
            assert (status["state"], "url" in status) == ("backingOff", False)
            assert sidecar.call("checkOrigin", origin=f"http://127.0.0.1:{port}")["owner"] == "foreign"
            with pytest.raises(Refused):
                sidecar.call("restart", service="web")
            assert '"url"' not in json.dumps(sidecar.status())
