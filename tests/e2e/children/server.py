"""A server for tests: ``server.py HOST PORT [STATUS]`` answers every GET with STATUS (default 200) and its environment.

It prints one line once it listens, and ends with its stdin.
"""

from __future__ import annotations

import http.server
import json
import os
import socket
import sys
import threading


class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        body = json.dumps(dict(os.environ)).encode()
        status = int(sys.argv[3]) if len(sys.argv) > 3 else 200
        self.send_response(status)
        if status != 204:
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if status != 204:
            self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


class Server(http.server.ThreadingHTTPServer):
    address_family = socket.AF_INET6 if ":" in sys.argv[1] else socket.AF_INET


def main() -> None:
    server = Server((sys.argv[1], int(sys.argv[2])), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    sys.stdout.write(f"listening on {server.server_address[1]}\n")
    sys.stdout.flush()
    while os.read(0, 4096):
        pass


main()
