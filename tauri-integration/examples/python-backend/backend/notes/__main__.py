"""The frozen backend: ``notes-backend migrate``, or ``notes-backend serve PORT``."""

from __future__ import annotations

import sys

from notes import database


def main(words: list[str]) -> int:
    """Do what the words say, and return the exit code."""
    match words:
        case ["migrate"]:
            print(f"{database.file()}: {database.migrate()} migrations done")
            return 0
        case ["serve", port] if port.isdigit():
            # A migration needs neither of them, and they take the longest to load.
            import uvicorn

            from notes.web import app

            uvicorn.run(app, host="127.0.0.1", port=int(port), access_log=False, timeout_graceful_shutdown=2)
            return 0
        case _:
            print("usage: notes-backend migrate | serve PORT", file=sys.stderr)
            return 2


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
