"""Listeners as lsof reports them."""

from __future__ import annotations

import errno
import os
import socket
import subprocess
import sys
from pathlib import Path
from unittest.mock import Mock

import psutil
import pytest

if sys.platform == "win32":
    pytest.skip("no lsof", allow_module_level=True)

from sidecar.host.darwin import lsof


def test_addresses_and_pids_are_taken_from_what_it_prints() -> None:
    text = "p77\nf20\ntIPv4\nn127.0.0.1:5173\nf21\ntIPv6\nn[::1]:5173\nf22\ntIPv6\nn*:5173\np78\nf3\ntIPv4\nn*:5173\n"
    assert lsof.parse(text) == [("127.0.0.1", 5173, 77), ("::1", 5173, 77), ("::", 5173, 77), ("0.0.0.0", 5173, 78)]


def test_a_socket_with_two_descriptors_is_one_listener() -> None:
    assert lsof.parse("p77\nf20\ntIPv4\nn127.0.0.1:1\nf21\ntIPv4\nn127.0.0.1:1\n") == [("127.0.0.1", 1, 77)]


@pytest.mark.skipif(not any(Path(it).exists() for it in lsof.PROGRAMS), reason="lsof is not installed")
@pytest.mark.parametrize("address", ["127.0.0.1", "0.0.0.0", "::1", "::"])
def test_a_real_listener_is_found_and_one_who_only_has_the_port_is_not(address: str) -> None:
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with socket.socket(family) as sock:
        sock.bind((address, 0))
        port = sock.getsockname()[1]
        assert lsof.listeners(port) == []
        sock.listen()
        assert lsof.listeners(port) == [(address, os.getpid())]


@pytest.mark.skipif(not any(Path(it).exists() for it in lsof.PROGRAMS), reason="lsof is not installed")
def test_the_listeners_of_some_processes_are_found_on_all_their_ports() -> None:
    with socket.create_server(("127.0.0.1", 0)) as one, socket.create_server(("::1", 0), family=socket.AF_INET6) as two:
        found = lsof.listeners_of([1 << 22, os.getpid()])
        assert found is not None
        assert {("127.0.0.1", one.getsockname()[1], os.getpid()), ("::1", two.getsockname()[1], os.getpid())} <= {
            *found
        }
        assert lsof.listeners_of([1 << 22]) == []
    assert lsof.listeners_of([]) == [], "no pids must not mean all processes"


@pytest.mark.parametrize("script", ["echo 'no such option' >&2; exit 1", "exec sleep 100"], ids=["fails", "hangs"])
def test_an_lsof_that_does_not_work_is_not_taken_for_an_empty_answer(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, script: str
) -> None:
    program = tmp_path / "lsof"
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(0o755)
    monkeypatch.setattr(lsof, "PROGRAMS", (str(program),))
    if "sleep" in script:
        monkeypatch.setattr(lsof, "BOUND_S", 0.05)
    assert lsof.listeners(80) is None
    assert lsof.listeners_of([os.getpid()]) is None


def test_an_lsof_that_we_may_not_run_is_not_taken_for_an_empty_answer(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(lsof, "PROGRAMS", (str(tmp_path),))
    assert lsof.listeners(80) is None


def test_a_system_that_starts_no_lsof_now_says_so_and_names_no_holder(monkeypatch: pytest.MonkeyPatch) -> None:
    """The next probe asks again. An empty answer could make a stranger's server ours, or ours a stranger's."""

    def refuse(*_: object, **__: object) -> None:
        raise OSError(errno.EAGAIN, "Whatever")

    monkeypatch.setattr(subprocess, "run", refuse)
    with pytest.raises(OSError, match="Whatever"):
        lsof.listeners(80)
    assert lsof.holder_of(Mock(), 80) is None


@pytest.mark.parametrize(("refusal", "hidden"), [(PermissionError, True), (ProcessLookupError, False), (None, False)])
def test_the_sockets_of_one_that_we_may_not_signal_are_hidden(refusal: type[OSError] | None, hidden: bool) -> None:
    assert lsof.hides(Mock(kill=Mock(side_effect=refusal)), [7]) == hidden


def test_without_lsof_nobody_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lsof, "PROGRAMS", ("/nonexistent/lsof",))
    assert lsof.listeners(80) is None
    assert lsof.holder_of(Mock(), 80) is None


@pytest.mark.parametrize("error", [psutil.NoSuchProcess(7), OSError(errno.ENOMEM, "no memory")])
def test_a_holder_whose_user_cannot_be_read_now_is_passed_over(
    error: Exception, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lsof, "listeners", lambda _: [("127.0.0.1", os.getpid())])
    monkeypatch.setattr(psutil.Process, "username", Mock(side_effect=error))
    assert lsof.holder_of(Mock(), 80) is None
