"""Who listens, as lsof tells it."""

from __future__ import annotations

import os
import socket
import sys
from pathlib import Path

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


def test_without_lsof_nobody_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lsof, "PROGRAMS", ("/nonexistent/lsof",))
    assert lsof.listeners(80) is None
