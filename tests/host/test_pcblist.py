"""Read macOS's socket table at the offsets in xnu's headers, and find listeners in it and with lsof.

The structs are those of xnu-11417.101.15, packed to 4 bytes (bsd/netinet/in_pcb.h:319, bsd/sys/socketvar.h:433).
"""

from __future__ import annotations

import ctypes
import errno
import os
import socket
import sys
from collections.abc import Sequence
from typing import Any
from unittest.mock import Mock

import pytest

if sys.platform == "win32":
    pytest.skip("users", allow_module_level=True)

from sidecar.core.events import Owner
from sidecar.host.base import FOREIGN, NOBODY, UNKNOWN, Claim
from sidecar.host.darwin import host as darwin
from sidecar.host.darwin import libproc, lsof, sockets
from sidecar.host.darwin.lineage import Listener

U8, U16, U32, U64, I16, I32 = (
    *(ctypes.c_uint8, ctypes.c_uint16, ctypes.c_uint32, ctypes.c_uint64),
    *(ctypes.c_int16, ctypes.c_int32),
)


class Packed(ctypes.Structure):
    _pack_ = 4
    _layout_ = "ms"


class Xinpgen(Packed):
    """bsd/netinet/in_pcb.h:520."""

    _fields_ = (("xig_len", U32), ("xig_count", U32), ("xig_gen", U64), ("xig_sogen", U64))


class Depend6(Packed):
    """bsd/netinet/in_pcb.h:509."""

    _fields_ = (("inp6_hlim", U8), ("inp6_cksum", I32), ("inp6_ifindex", U16), ("inp6_hops", I16))


class XinpcbN(Packed):
    """bsd/netinet/in_pcb.h:485. Its unions hold in_addr_4in6 (:335) or in6_addr, both of 32-bit words."""

    _fields_ = (
        *(("xi_len", U32), ("xi_kind", U32), ("xi_inpp", U64), ("inp_fport", U16), ("inp_lport", U16)),
        *(("inp_ppcb", U64), ("inp_gencnt", U64), ("inp_flags", I32), ("inp_flow", U32)),
        *(("inp_vflag", U8), ("inp_ip_ttl", U8), ("inp_ip_p", U8)),
        *(("foreign", U32 * 4), ("local", U32 * 4), ("inp4_ip_tos", U8), ("depend6", Depend6)),
        *(("inp_flowhash", U32), ("inp_flags2", U32)),
    )


class XsocketN(Packed):
    """bsd/sys/socketvar.h:506."""

    _fields_ = (
        *(("xso_len", U32), ("xso_kind", U32), ("xso_so", U64), ("so_type", I16), ("so_options", U32)),
        *(("so_linger", I16), ("so_state", I16), ("so_pcb", U64), ("xso_protocol", I32), ("xso_family", I32)),
        *(("so_qlen", I16), ("so_incqlen", I16), ("so_qlimit", I16), ("so_timeo", I16), ("so_error", U16)),
        *(("so_pgid", I32), ("so_oobmark", U32), ("so_uid", U32), ("so_last_pid", I32), ("so_e_pid", I32)),
        *(("so_gencnt", U64), ("so_flags", U32), ("so_flags1", U32), ("so_usecount", I32)),
        *(("so_retaincnt", I32), ("xso_filter_flags", U32)),
    )


class XsockbufN(Packed):
    """bsd/sys/socketvar.h:543."""

    _fields_ = (
        *(("xsb_len", U32), ("xsb_kind", U32), ("sb_cc", U32), ("sb_hiwat", U32), ("sb_mbcnt", U32), ("sb_mbmax", U32)),
        *(("sb_lowat", I32), ("sb_flags", I16), ("sb_timeo", I16)),
    )


class XsockstatN(Packed):
    """bsd/sys/socketvar.h:555: four traffic classes of struct data_stats (:213), which has four counters."""

    _fields_ = (("xst_len", U32), ("xst_kind", U32), ("xst_tc_stats", U64 * 16))


class XtcpcbN(Packed):
    """bsd/netinet/tcp_var.h:1609. Fields after t_state, which we do not read, are one block. TCPT_NTIMERS_EXT is 4."""

    _fields_ = (
        *(("xt_len", U32), ("xt_kind", U32), ("t_segq", U64), ("t_dupacks", I32), ("t_timer", I32 * 4)),
        *(("t_state", I32), ("rest", U8 * 164)),
    )


ESTABLISHED, LISTEN = 4, 1
"""bsd/netinet/tcp_fsm.h:76."""
IPV4, IPV6 = 0x1, 0x2


def generation(count: int) -> bytes:
    return bytes(Xinpgen(24, count, 7, 9))


def padded(record: Packed) -> bytes:
    """ADVANCE64 (bsd/netinet/in_pcblist.c:95)."""
    data = bytes(record)
    return data + bytes(-len(data) % 8)


def one(address: str, port: int, pid: int, uid: int = 501, *, state: int = LISTEN, version: int | None = None) -> bytes:
    """Return a socket as get_pcblist_n writes it (bsd/netinet/in_pcblist.c:405 to 440)."""
    six = ":" in address
    raw = socket.inet_pton(socket.AF_INET6, address) if six else bytes(12) + socket.inet_pton(socket.AF_INET, address)
    garbage = (U32 * 4)(*[0xFFFFFFFF] * 4)
    inpcb = XinpcbN(
        ctypes.sizeof(XinpcbN), 0x010, 1 << 60, 0, socket.htons(port), inp_flags=-1, foreign=garbage, inp_flow=1 << 31
    )
    inpcb.inp_vflag = version or (IPV6 if six else IPV4)
    inpcb.local = (U32 * 4).from_buffer_copy(raw)
    sock = XsocketN(ctypes.sizeof(XsocketN), 0x001, so_uid=uid, so_last_pid=pid, so_pgid=3, so_e_pid=4, so_oobmark=5)
    buffers = [XsockbufN(ctypes.sizeof(XsockbufN), kind) for kind in (0x002, 0x004)]
    stats = XsockstatN(ctypes.sizeof(XsockstatN), 0x008)
    tcpcb = XtcpcbN(ctypes.sizeof(XtcpcbN), 0x020, t_state=state, t_timer=(I32 * 4)(1, 1, 1, 1))
    return b"".join(map(padded, (inpcb, sock, *buffers, stats, tcpcb)))


def table(*sockets: bytes) -> bytes:
    return generation(len(sockets)) + b"".join(sockets) + generation(len(sockets))


def test_the_structs_have_the_sizes_of_the_headers() -> None:
    """The offsets above, added up by hand."""
    assert [ctypes.sizeof(it) for it in (Xinpgen, XinpcbN, XsocketN, XsockbufN)] == [24, 104, 104, 32]
    assert (XinpcbN.inp_lport.offset, XinpcbN.inp_vflag.offset, XinpcbN.local.offset) == (18, 44, 64)
    assert (XsocketN.so_uid.offset, XsocketN.so_last_pid.offset, XtcpcbN.t_state.offset) == (64, 68, 36)


def test_listeners_are_read_with_address_port_pid_and_user() -> None:
    found = sockets.parse(
        table(
            one("127.0.0.1", 5173, 77),
            one("127.0.0.1", 5174, 78, state=ESTABLISHED),
            one("::1", 65535, 79, 0),
            one("0.0.0.0", 80, 1, 0),
            one("::", 5173, 99_999, version=IPV4 | IPV6),
            one("::ffff:127.0.0.1", 5175, 80),
        )
    )
    assert found == [
        ("127.0.0.1", 5173, 77, 501),
        ("::1", 65535, 79, 0),
        ("0.0.0.0", 80, 1, 0),
        ("::", 5173, 99_999, 501),
        ("127.0.0.1", 5175, 80, 501),
    ]


def test_a_table_without_sockets_has_none() -> None:
    """The kernel then writes only the header (bsd/netinet/in_pcblist.c:361), or the header and the trailer."""
    assert sockets.parse(generation(0) + generation(0)) == []


whole = table(one("127.0.0.1", 5173, 77))


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\x18",
        bytes(24),
        whole[:-24],
        whole[:-30],
        whole[:24] + whole[24:].replace(bytes(U32(104)) + bytes(U32(1)), bytes(U32(104)) + bytes(U32(64))),
        (64).to_bytes(4, sys.byteorder) + whole[4:],
        generation(1) + bytes(XsockbufN(32, 0x010)) + generation(1),
        generation(1) + bytes(XsockbufN(0, 0x002)) + generation(1),
    ],
    ids=["empty", "a byte", "zeros", "no end", "cut", "no socket record", "another head", "too short", "no length"],
)
def test_a_table_of_another_layout_is_refused(data: bytes) -> None:
    with pytest.raises(ValueError, match=r"layout|shorter|no end|something else"):
        sockets.parse(data)


class Library:
    """A fake libSystem with this table. ``grows``: how often the table outgrows the size that was asked for."""

    def __init__(self, data: bytes, *, grows: int = 0, refuses: int = 0) -> None:
        self.data = data
        self.grows = grows
        self.refuses = refuses

    def sysctlbyname(self, name: bytes, into: Any, size: Any, new: None, length: object) -> int:
        assert name == b"net.inet.tcp.pcblist_n"
        if self.refuses:
            ctypes.set_errno(self.refuses)
            return -1
        if into is None:
            size._obj.value = len(self.data) + 100
            return 0
        if self.grows:
            self.grows -= 1
            ctypes.set_errno(errno.ENOMEM)
            return -1
        assert size._obj.value >= len(self.data)
        ctypes.memmove(into, self.data, len(self.data))
        size._obj.value = len(self.data)
        return 0


def asked(library: Library) -> list[Listener] | None:
    it = libproc.Libproc.__new__(libproc.Libproc)
    it._library = library
    return it.listeners()


def test_the_kernel_is_asked_again_when_sockets_were_added_meanwhile() -> None:
    assert asked(Library(whole, grows=2)) == [("127.0.0.1", 5173, 77, 501)]


@pytest.mark.parametrize(
    "library",
    [Library(whole, refuses=errno.EPERM), Library(whole, refuses=errno.ENOENT), Library(whole, grows=9), Library(b"?")],
    ids=["sandbox", "none", "no memory", "another layout"],
)
def test_a_table_that_cannot_be_had_is_none(library: Library) -> None:
    assert asked(library) is None


@pytest.mark.skipif(sys.platform != "darwin", reason="macOS's own table")
def test_the_real_table_has_our_listener() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        found = libproc.Libproc().listeners()
        assert found is not None
        assert (*server.getsockname(), os.getpid(), os.geteuid()) in found


# ── find the owner ───────────────────────────────────────────────────────────────────────────────────────────────────

OURS, STRANGER, DEAD = 70, 80, 90


class System:
    """A system with this socket table, where only ``DEAD`` is dead."""

    def __init__(self, *rows: Listener, table: bool = True) -> None:
        self.rows = list(rows) if table else None

    def listeners(self) -> list[Listener] | None:
        return self.rows

    def read(self, pid: int) -> Any:
        return None if pid == DEAD else Mock(dead=False)

    def variable(self, pid: int, name: str) -> str | None:
        return None

    def kill(self, pid: int, number: int) -> None:
        pass


def system(*rows: Listener, table: bool = True) -> Any:
    return System(*rows, table=table)


def a_host(system: Any, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Return a host with one service that has one process."""
    it = darwin.DarwinHost.__new__(darwin.DarwinHost)
    it._system = system
    it._trees = {"web": Mock()}
    monkeypatch.setattr(it, "_members", lambda *_: [Mock(pid=OURS, birth=OURS)])
    return it


def owner(system: Any, monkeypatch: pytest.MonkeyPatch) -> Owner:
    """Return whether that service owns 127.0.0.1:4000."""
    found: Owner = a_host(system, monkeypatch).owns("web", "127.0.0.1", 4000)
    return found


def at(pid: int, address: str = "127.0.0.1", uid: int | None = None) -> Listener:
    return address, 4000, pid, os.geteuid() if uid is None else uid


@pytest.mark.parametrize(
    ("rows", "shown", "verdict"),
    [
        ([at(OURS)], "not asked", "ours"),
        ([at(OURS, "::")], "not asked", "ours"),
        ([at(OURS), at(STRANGER, "::")], "not asked", "ours"),
        ([], "not asked", "foreign"),
        ([("127.0.0.1", 4001, OURS, 501)], "not asked", "foreign"),
        ([at(DEAD)], [("127.0.0.1", OURS)], "ours"),
        ([at(STRANGER)], [("127.0.0.1", OURS), ("127.0.0.1", STRANGER)], "foreign"),
        ([at(STRANGER)], None, "foreign"),
        ([at(DEAD)], None, "unknown"),
        ([at(OURS, uid=1 << 20)], [], "foreign"),
        ([at(0, uid=0)], [], "foreign"),
        (None, [("127.0.0.1", OURS)], "ours"),
        (None, None, "unknown"),
    ],
)
def test_lsof_is_asked_only_where_the_table_does_not_decide(
    rows: Sequence[Listener] | None, shown: Any, verdict: Owner, monkeypatch: pytest.MonkeyPatch
) -> None:
    ask = Mock(side_effect=AssertionError("lsof was asked")) if shown == "not asked" else Mock(return_value=shown)
    monkeypatch.setattr(darwin, "listeners", ask)
    assert owner(system(*rows or (), table=rows is not None), monkeypatch) == verdict


@pytest.mark.parametrize(
    ("rows", "shown", "claim"),
    [
        ([at(OURS)], "not asked", Claim("service", "web")),
        ([], "not asked", NOBODY),
        ([at(OURS), at(STRANGER, "::")], [("127.0.0.1", OURS), ("::", STRANGER)], FOREIGN),
        ([at(STRANGER)], [], FOREIGN),
        ([at(STRANGER)], None, FOREIGN),
        ([at(DEAD)], [("127.0.0.1", OURS)], Claim("service", "web")),
        ([at(DEAD)], None, UNKNOWN),
        ([at(OURS, uid=1 << 20)], [], FOREIGN),
        ([at(OURS, uid=1 << 20)], None, FOREIGN),
        (None, [], NOBODY),
        (None, None, UNKNOWN),
    ],
)
def test_who_could_take_a_connection_is_told_by_the_table_first(
    rows: Sequence[Listener] | None, shown: Any, claim: Claim, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The table shows another user's listener, lsof does not."""
    ask = Mock(side_effect=AssertionError("lsof was asked")) if shown == "not asked" else Mock(return_value=shown)
    monkeypatch.setattr(darwin, "listeners", ask)
    monkeypatch.setattr(darwin, "takes_connections", lambda *_: False)
    host = a_host(system(*rows or (), table=rows is not None), monkeypatch)
    assert host.owner_of("127.0.0.1", 4000) == claim


@pytest.mark.parametrize(
    ("rows", "asks"),
    [
        ([at(OURS), at(STRANGER)], False),
        ([at(OURS), at(DEAD)], True),
        ([at(OURS), at(DEAD, uid=1 << 20)], False),
        ([at(OURS), at(0)], False),
        ([at(OURS), at(OURS, "::1", uid=1 << 20)], False),
    ],
)
def test_a_socket_whose_last_process_is_dead_may_have_been_handed_on(
    rows: Sequence[Listener], asks: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lsof, "listeners_of", lambda pids: [("127.0.0.1", 4000, OURS), ("::1", 4001, OURS)])
    found = sockets.listeners_of(system(*rows), [OURS])
    assert found == [("127.0.0.1", 4000, OURS), *([("::1", 4001, OURS)] if asks else [])]


def test_another_users_holder_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the table it has no name: lsof does not show it."""
    monkeypatch.setattr(sockets, "command_of", lambda pid: None)
    holder = sockets.holder_of(system(at(DEAD), at(STRANGER, uid=0)), 4000)
    assert holder is not None
    assert (holder.pid, holder.user, holder.ours) == (STRANGER, "root", False)
    nobody = sockets.holder_of(system(at(STRANGER, uid=(1 << 31) - 7)), 4000)
    assert nobody is not None
    assert nobody.user == str((1 << 31) - 7)
