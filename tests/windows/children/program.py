"""The words of tests/children/program.py on Windows: ``program.py WORD…``.

Windows has no signals: ``ignore`` ignores Ctrl-Break and the end of stdin, ``report`` handles both. It has no fork:
``child`` starts this program again with the remaining words, ``daemon`` starts one that only waits.
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading

if sys.platform != "win32":
    raise ImportError("POSIX has tests/children/program.py")

LIFE_S = 100
"""Longest life, whatever happens to the test."""

servers: list[socket.socket] = []


def heed() -> None:
    """Print and exit on Ctrl-Break or at the end of stdin."""

    def report(*_: object) -> None:
        os.write(1, b"got SIGTERM\n")
        os._exit(0)

    def read_to_end() -> None:
        while os.read(0, 1024):
            pass
        report()

    signal.signal(signal.SIGBREAK, report)
    threading.Thread(target=read_to_end, daemon=True).start()


def start(*words: str, flags: int = 0) -> subprocess.Popen[bytes]:
    """Start this program again with our standard streams. Without a console they must be passed explicitly."""
    command = [sys.executable, "-I", "-S", __file__, *words]
    return subprocess.Popen(command, stdin=0, stdout=1, stderr=2, creationflags=flags)


def listen(value: str) -> None:
    address, _, port = value.partition("=")
    server = socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET)
    server.setsockopt(socket.SOL_SOCKET, socket.SO_EXCLUSIVEADDRUSE, 1)
    if ":" in address:
        server.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
    server.bind((address, int(port)))
    server.listen()
    servers.append(server)


def await_line(*words: str) -> None:
    """Start this program again with these words; return when it has printed a line."""
    process = subprocess.Popen(
        [sys.executable, "-I", "-S", __file__, *words], stdin=0, stdout=subprocess.PIPE, stderr=2
    )
    assert process.stdout is not None
    process.stdout.readline()


def main() -> None:
    threading.Timer(LIFE_S, os._exit, (124,)).start()
    heeded: list[str] = []
    words = sys.argv[1:]
    while words:
        word, _, value = words.pop(0).partition(":")
        match word:
            case "print":
                os.write(1, value.encode() + b"\n")
            case "err":
                os.write(2, value.encode() + b"\n")
            case "exit":
                os._exit(int(value))
            case "ignore":
                signal.signal(signal.SIGBREAK, signal.SIG_IGN)
                heeded.append(f"ignore:{value}")
            case "report":
                heed()
                heeded.append(f"report:{value}")
            case "child":
                start(*heeded, *words)
            case "daemon":
                # a middle process, which ends and so leaves the daemon without a parent
                flags = subprocess.DETACHED_PROCESS | subprocess.CREATE_NEW_PROCESS_GROUP
                start(*heeded, "orphan", flags=flags).wait()
            case "orphan":
                start(*heeded, "hold", flags=subprocess.CREATE_NEW_PROCESS_GROUP)
                os._exit(0)
            case "listen":
                listen(value)
            case "grandchild":
                await_line(f"child that starts:{value}")
            case "child that starts":
                await_line(f"listen:{value}", "print:up", "hold")
                words = ["print:up", "hold"]
            case "hold":
                threading.Event().wait()


if __name__ == "__main__":
    main()
