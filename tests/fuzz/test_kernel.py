"""Parsers of Linux's data on processes, sockets and control groups, with arbitrary names."""

from __future__ import annotations

import ctypes
import io
import os
import socket
import struct
import sys
from collections.abc import Callable
from typing import Any

import pytest

if sys.platform != "linux":
    pytest.skip("proc(5)", allow_module_level=True)

from hypothesis import given
from hypothesis import strategies as st

from sidecar.host.linux import cgroup, processes, sockets

PR_SET_NAME = 15
NAME = st.binary(max_size=15).map(lambda it: it.replace(b"\0", b" ")) | st.sampled_from(
    [b") R 1 1 1", b"((((", b"a\nb", b"))))))))))))))", b" ", b"", b"\xff\xfe", b"0 (x) Z 9 9 9"]
)


@given(NAME)
def test_a_process_is_the_same_whatever_it_calls_itself(name: bytes) -> None:
    libc = ctypes.CDLL(None)
    me = processes.read_process(os.getpid())
    with open("/proc/self/comm", "rb") as file:
        before = file.read().rstrip(b"\n")
    try:
        libc.prctl(PR_SET_NAME, name, 0, 0, 0)
        again = processes.read_process(os.getpid())
    finally:
        libc.prctl(PR_SET_NAME, before, 0, 0, 0)
    assert me is not None
    assert again is not None
    assert (again.pid, again.ppid, again.sid, again.start, again.dead) == (me.pid, me.ppid, me.sid, me.start, False)


# ── sockets ───────────────────────────────────────────────────────────────────────────────────────────────────────────

ROW = st.tuples(
    st.sampled_from(["127.0.0.1", "0.0.0.0", "192.168.0.7"]) | st.ip_addresses(v=4).map(str),
    st.integers(0, 65_535),
    st.sampled_from(["0A", "01", "06"]),
    st.integers(0, 2**32 - 1),
    st.integers(0, 2**32),
)
ROW6 = st.tuples(
    st.sampled_from(["::1", "::", "::ffff:127.0.0.1"]) | st.ip_addresses(v=6).map(str),
    *(st.integers(0, 65_535), st.sampled_from(["0A", "01"]), st.integers(0, 2**32 - 1), st.integers(0, 2**32)),
)
Row = tuple[str, int, str, int, int]


def line(row: Row, family: socket.AddressFamily, number: int) -> str:
    """Format a socket as the kernel does: net/ipv4/tcp_ipv4.c, get_tcp4_sock."""
    address, port, state, uid, inode = row
    packed = socket.inet_pton(family, address)
    words = "".join(f"{word:08X}" for word in struct.unpack(f"={len(packed) // 4}I", packed))
    zero = "0" * len(words)
    return (
        f"{number:4d}: {words}:{port:04X} {zero}:0000 {state} 00000000:00000000 00:00000000 00000000 "
        f"{uid:5d}        0 {inode} 1 0000000000000000 100 0 0 10 0"
    )


@given(st.lists(ROW, max_size=5), st.lists(ROW6, max_size=5), st.booleans())
def test_every_listener_of_the_kernels_tables_is_found(four: list[Row], six: list[Row], has_ipv6: bool) -> None:
    head = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n"
    texts = {
        sockets.TABLES[0][0]: head + "".join(f"{line(it, socket.AF_INET, at)}\n" for at, it in enumerate(four)),
        sockets.TABLES[1][0]: head + "".join(f"{line(it, socket.AF_INET6, at)}\n" for at, it in enumerate(six)),
    }
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sockets, "_read", lambda path: texts[path].encode() if has_ipv6 or "6" not in path else b"")
        patch.setattr(os.path, "exists", lambda _path: False)
        found = sockets.all_listeners()
    rows = [*four, *(six if has_ipv6 else [])]
    plain = {"::ffff:127.0.0.1": "127.0.0.1"}
    assert found is not None
    assert [it[1:] for it in found] == [(port, str(inode), uid) for _, port, state, uid, inode in rows if state == "0A"]
    for (address, *_), (wanted, _, state, *_) in zip(found, (it for it in rows if it[2] == "0A"), strict=True):
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        shown = plain.get(wanted, wanted)
        if "." in shown or not shown.startswith("::ffff:"):
            assert socket.inet_pton(family, address) == socket.inet_pton(family, shown), state


# ── control groups ────────────────────────────────────────────────────────────────────────────────────────────────────

FOLDER = st.lists(
    st.text(st.characters(exclude_characters="\0/", exclude_categories=["Cs"]), min_size=1, max_size=6).filter(
        lambda it: it not in {".", ".."}
    ),
    max_size=3,
).map(lambda it: "/" + "/".join(it))


def mangled(path: str) -> str:
    """Escape a path as the kernel does in mountinfo: fs/proc_namespace.c, mangle()."""
    for each in "\\ \t\n":
        path = path.replace(each, f"\\{ord(each):03o}")
    return path


def opened(files: dict[str, bytes]) -> Callable[..., Any]:
    return lambda path, *_args, **_more: io.BytesIO(files[path])


@given(FOLDER, FOLDER, FOLDER, st.lists(st.binary(max_size=40).map(lambda it: it.replace(b"\n", b"")), max_size=3))
def test_our_group_is_found_wherever_it_is_mounted(root: str, point: str, below: str, others: list[bytes]) -> None:
    group = root.rstrip("/") + below.rstrip("/") or "/"
    if "\n" in group:
        return  # the kernel refuses such a group's name: kernel/cgroup/cgroup.c, cgroup_mkdir
    mount = f"31 25 0:27 {mangled(root)} {mangled(point)} rw,nosuid - cgroup2 cgroup rw\n".encode()
    rest = b"".join(it + b"\n" for it in others if b" - cgroup2 " not in it)
    files = {
        "/proc/self/mountinfo": rest + mount,
        "/proc/self/cgroup": b"1:name=systemd:/x\n0::" + group.encode() + b"\n",
    }
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(cgroup, "open", opened(files), raising=False)
        found = cgroup.own_folder()
    inside = group if root == "/" else group[len(root) :]
    assert found == os.path.normpath(point + inside)


@given(st.binary(max_size=60), st.binary(max_size=60))
def test_whatever_proc_says_of_groups_is_a_folder_or_none(mountinfo: bytes, group: bytes) -> None:
    files = {"/proc/self/mountinfo": mountinfo + b"\n1 2 3 / - cgroup2 x\n", "/proc/self/cgroup": b"0::" + group}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(cgroup, "open", opened(files), raising=False)
        found = cgroup.own_folder()
    assert found is None or isinstance(found, str)
