"""A small service: ``server.py PORT [deaf] [slow] [child] [session] [gate]``. PORT 0 is none: it then only waits.

It takes commands by HTTP: ``/say/TEXT`` prints a line, ``/write/TEXT`` text without a line end, ``/flood`` prints for
ever, ``/exit/N`` exits. ``deaf`` ignores SIGTERM. ``slow`` prints ``asked to end`` at SIGTERM, and ends once the gate
opens (tests/support/waiting.py). ``child`` starts another process, ``session`` one in its own session. ``gate`` listens
only once the gate opens. It ignores the end of its stdin, which comes with the sidecar's end: the tests are about
being killed.
"""

from __future__ import annotations

import os
import signal
import socket
import sys
import threading
import urllib.parse

assert sys.platform != "win32"  # for mypy


def say(text: str) -> None:
    os.write(1, text.encode("utf-8", "surrogateescape") + b"\n")


def flood() -> None:
    line = b"flood \x1b[31mred\x1b[0m " + b"x" * 100 + b"\n"
    while True:
        os.write(1, line * 200)


def answer(path: str) -> None:
    what, _, value = path.removeprefix("/").partition("/")
    if what == "say":
        say(urllib.parse.unquote(value, errors="surrogateescape"))
    elif what == "write":
        os.write(1, urllib.parse.unquote(value).encode())
    elif what == "error":
        os.write(2, urllib.parse.unquote(value).encode() + b"\n")
    elif what == "exit":
        os._exit(int(value))
    elif what == "flood":
        threading.Thread(target=flood, daemon=True).start()


def stand_at_gate() -> None:
    with open("go", "rb", buffering=0) as gate:
        gate.read(1)


def live_on() -> None:
    while True:
        signal.pause()


def end_slowly(*_: object) -> None:
    say("asked to end")
    stand_at_gate()
    say("in its own time")
    os._exit(0)


def main() -> None:
    port, wishes = int(sys.argv[1]), sys.argv[2:]
    if "slow" in wishes:
        signal.signal(signal.SIGTERM, end_slowly)
    if "deaf" in wishes:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    if {"child", "session"} & set(wishes) and os.fork() == 0:
        if "session" in wishes:
            os.setsid()
        live_on()
    if not port:
        say("no port, but here")
        live_on()
    if "gate" in wishes:
        stand_at_gate()
    server = socket.socket()
    server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    server.bind(("127.0.0.1", port))
    server.listen()
    say(f"listening on {port}")
    while True:
        peer, _ = server.accept()
        request = peer.recv(4096).split()
        if len(request) > 1:
            answer(request[1].decode())
            peer.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
        peer.close()


main()
