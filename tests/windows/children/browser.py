"""A fake browser: ``browser.py URL`` reports the URL to the roll call, and lives until that closes the connection."""

from __future__ import annotations

import os
import socket
import sys
import threading

LIFE_S = 100

if __name__ == "__main__":
    threading.Timer(LIFE_S, os._exit, (124,)).start()
    connection = socket.create_connection(("127.0.0.1", int(os.environ["ROLL_CALL"])))
    connection.sendall(f"{sys.argv[1]} {os.getpid()}\n".encode())
    while word := connection.recv(1):
        connection.sendall(word)
    os._exit(0)
