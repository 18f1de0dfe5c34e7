from __future__ import annotations

import pytest

from sidecar.commands.dev.program import uses_port
from sidecar.protocol.messages import (
    AnyNotification,
    Failure,
    Holder,
    PortChanged,
    ServiceExited,
    ServiceLog,
    ServiceReady,
    ServiceRestarting,
    ServiceState,
    ServiceWaiting,
    SupervisorFault,
    SupervisorSwept,
    SweptProcess,
)
from sidecar.terminal.messages import (
    Line,
    describe,
    describe_failure,
    describe_keys,
    duration,
    size,
    uptime,
)


def said(lines: list[Line]) -> list[str]:
    return ["".join(text for text, _ in line) for line in lines]


@pytest.mark.parametrize(
    ("message", "words"),
    [
        (
            ServiceReady("web", "http://127.0.0.1:5173/", "127.0.0.1", 5173, 7, 358),
            ["web is ready on http://127.0.0.1:5173/ after 358 ms"],
        ),
        (ServiceReady("web", None, None, None, 7, 1234), ["web is ready after 1.2 s"]),
        (
            PortChanged("web", origin=5173, to=41997, holder=Holder(3205, "python x", "ada")),
            ["port 5173 is taken by python x (pid 3205, user ada); using 41997 instead"],
        ),
        (PortChanged("web", origin=5173, to=41997), ["port 5173 is not free; using 41997 instead"]),
        (
            ServiceRestarting("web", 2, 500, "web failed: it ended with SIGKILL."),
            ["web failed: it ended with SIGKILL.", "restarting in 500 ms (attempt 2)"],
        ),
        (
            ServiceState("web", "unhealthy", detail="no answer within 5 s"),
            ["web is unhealthy: no answer within 5 s"],
        ),
        (
            ServiceWaiting("web", 10_012, "it listens nowhere yet"),
            ["web is not ready after 10 s: it listens nowhere yet"],
        ),
        (ServiceState("web", "stopping", error=Failure(1, "web hangs.")), ["stopping web"]),
        (
            ServiceRestarting("web", 0, 0, "web is restarted: an address has changed", "addressChanged"),
            ["web is restarted: an address has changed"],
        ),
        (ServiceExited("web", "an address has changed", code=0, cause="addressChanged"), []),
        (ServiceState("web", "stopping"), []),
        (ServiceExited("web", "exit code 0", code=0), ["web has ended with exit code 0"]),
        (ServiceExited("web", "stopped", code=0), []),
        (ServiceExited("web", "exit code 3", code=3), []),
        (ServiceLog("web", "stdout", ("shown, not told",)), []),
        (SupervisorFault(Failure(1, "bad")), ["bad"]),
        (
            SupervisorSwept((SweptProcess(1), SweptProcess(2)), 0, 1, 0, ("a problem",)),
            ["ended 2 processes left over from an earlier run that was killed", "a problem"],
        ),
        (SupervisorSwept((), 1, 1, 0, ()), []),
    ],
)
def test_each_notification_in_words(message: AnyNotification, words: list[str]) -> None:
    assert said(describe(message)) == words


def test_a_service_that_nothing_probes_is_only_said_to_run() -> None:
    assert said(describe(ServiceReady("web", None, None, None, 7, 1), {"web"})) == ["web is running"]
    found = ServiceReady("web", "http://127.0.0.1:5173/", "127.0.0.1", 5173, 7, 1)
    assert said(describe(found, {"web"})) == ["web listens on http://127.0.0.1:5173/"]
    assert said(describe(ServiceReady("api", None, None, None, 7, 1), {"web"})) == ["api is ready after 1 ms"]


def test_a_failure_shows_the_last_lines_and_does_not_point_to_a_field() -> None:
    assert said(describe_failure(Failure(1, "web failed.", {"lines": ["a", "b"]}))) == [
        "web failed.",
        "Its last lines:",
        "    a",
        "    b",
    ]
    assert said(describe_failure(Failure(1, "no vite", {}))) == ["no vite"]


def test_all_keys_are_in_the_help() -> None:
    keys = ["r", "s", "o", "l", "q", "?", "Ctrl-C"]
    assert [line.split()[0] for line in said(describe_keys(several=False))] == keys
    assert [line.split()[0] for line in said(describe_keys(several=True))] == ["1-9,", "R", "f", *keys]


def test_times_and_sizes_are_short() -> None:
    assert [duration(ms) for ms in (0, 999, 1000, 61_500)] == ["0 ms", "999 ms", "1.0 s", "61.5 s"]
    assert [uptime(s) for s in (0.9, 59.9, 60, 3599, 7325)] == ["0 s", "59 s", "1 min", "59 min", "2 h 2 min"]
    assert [size(n) for n in (0, 12_345, 85_000_000, 2_500_000_000)] == ["0 kB", "12 kB", "85 MB", "2.5 GB"]


@pytest.mark.parametrize("mark", ["{port}", "{host}", "{url}"])
def test_a_program_gets_a_port_if_a_word_has_a_place_for_it(mark: str) -> None:
    assert uses_port(["x", f"--listen={mark}"])
    assert not uses_port(["x", "{ports}"])
