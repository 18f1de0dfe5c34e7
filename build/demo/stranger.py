"""Another program's server, which holds the preferred port."""

from __future__ import annotations

import errno
import http
import http.server
import os
import socket
import sys
import threading

from build.demo.roles import leave_with_stdin

if sys.platform == "win32":
    CLAIM = socket.SO_EXCLUSIVEADDRUSE  # on Windows a bind with SO_REUSEADDR succeeds beside a listener
    TAKEN = {errno.EADDRINUSE, errno.EACCES}  # EACCES: its holder is exclusive, or the system has reserved it
else:
    CLAIM = socket.SO_REUSEADDR  # ignores connections that are still in TIME_WAIT
    TAKEN = {errno.EADDRINUSE}


class Stranger(http.server.BaseHTTPRequestHandler):
    """Serves another program's page."""

    def do_GET(self) -> None:
        """Answer every path with the same text."""
        self.send_response(http.HTTPStatus.OK)
        self.end_headers()
        self.wfile.write(b"This is another program's server.\n")

    def log_message(self, *_: object) -> None:
        """Say nothing."""


def be_a_stranger(port: int) -> int:
    """Serve HTTP on the port until stdin ends. Print the pid, as ``be_the_app`` does, once it listens."""
    server = http.server.ThreadingHTTPServer(("127.0.0.1", port), Stranger)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    print(os.getpid(), flush=True)
    leave_with_stdin()
    return 0


def held(port: int) -> bool:
    """Tell whether a program listens on the port, on a loopback or on all addresses."""
    places = (
        (socket.AF_INET, "127.0.0.1"),
        (socket.AF_INET, "0.0.0.0"),  # noqa: S104  looked at, not served on
        (socket.AF_INET6, "::1"),
        (socket.AF_INET6, "::"),
    )
    for family, address in places:
        try:
            with socket.socket(family, socket.SOCK_STREAM) as sock:
                sock.setsockopt(socket.SOL_SOCKET, CLAIM, 1)
                if family == socket.AF_INET6:
                    sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
                sock.bind((address, port))
                sock.listen()
        except OSError as problem:
            if problem.errno in TAKEN:  # else this machine lacks the address family
                return True
    return False
