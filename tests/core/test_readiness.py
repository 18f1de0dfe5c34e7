"""What the core concludes from a program's output and exit."""

from __future__ import annotations

import pytest

from sidecar.core.events import Address, Endpoint
from sidecar.core.readiness import (
    hopeless,
    how_it_ended,
    matches,
    out_of_watches,
    plain,
    port_is_taken,
    told_address,
)

HERE = Endpoint("127.0.0.1", 5173)


@pytest.mark.parametrize(
    "text",
    [
        "\x1b[32mready\x1b[0m",
        "\x1b]8;;http://localhost\x07ready\x1b]8;;\x1b\\",
        "\x1b[2K\x1b[1Gready",
        "\x1bMready",
        "ready",
    ],
)
def test_escape_sequences_are_no_text(text: str) -> None:
    assert plain(text) == "ready"


@pytest.mark.parametrize(
    "line",
    [
        "Error: Port 5173 is already in use",
        "Error: listen EADDRINUSE: address already in use 127.0.0.1:5173",
        "Error: listen EADDRINUSE: address already in use :::5173",
        "OSError: [Errno 98] Address already in use",
        "\x1b[31merror: address already in use\x1b[39m",
        "Only one usage of each socket address (protocol/network address/port) is normally permitted. 5173",
        "port 5173 is in use",
    ],
)
def test_a_program_that_says_its_port_is_in_use_is_understood(line: str) -> None:
    assert port_is_taken(["starting", line, "bye"], 5173)


@pytest.mark.parametrize(
    "line",
    [
        "WebSocket server error: Port 24678 is already in use",
        "listening on 5173",
        "",
        "Error: listen EADDRINUSE: address already in use 127.0.0.1:15173",
    ],
)
def test_a_line_about_another_port_or_another_thing_is_not_about_ours(line: str) -> None:
    assert not port_is_taken([line], 5173)


@pytest.mark.parametrize(
    ("line", "advice"),
    [
        ("failed to load config from /p/vite.config.ts", "could not load its configuration"),
        ("Error: Cannot find module './missing.js'", "file that the program asks for is not there"),
        ("Error: Cannot find module '/p/server.js'", "file that the program asks for is not there"),
        ("Error: Cannot find module 'C:\\p\\server.js'", "file that the program asks for is not there"),
        ("Error: ENOSPC: System limit for number of file watchers reached, watch '/p'", "max_user_watches"),
        ("OSError: [Errno 28] inotify watch limit reached", "max_user_watches"),
        ("Error: EMFILE: too many open files, watch '/p/vite.config.js'", "max_user_instances"),
        ("OSError: [Errno 24] inotify instance limit reached", "max_user_instances"),
        ("Error: Found another Vite dev process for this project (PID 18).", "runs already (pid 18)"),
        (
            "Error: Found another Vite dev process for this project at http://localhost:5173/ (PID 18).",
            "runs already at http://localhost:5173/ (pid 18)",
        ),
        ("Error [ERR_MODULE_NOT_FOUND]: Cannot find package 'vite'", "npm install"),
        ("ModuleNotFoundError: No module named 'flask'", "Python module is missing"),
        ("CACError: Unknown option `--prot`", "does not know one of its arguments"),
        ("node: bad option: --nope", "does not know one of its arguments"),
        ("server.py: error: unrecognized arguments: --nope", "does not know one of its arguments"),
        ("node: --nope is not allowed in NODE_OPTIONS", "does not know one of its arguments"),
        ("\x1b[31mSyntaxError\x1b[0m: Unexpected token", "syntax error"),
        ("Vite requires Node.js version 20.19+ or 22.12+.", "another version of node"),
        ("Unsupported engine", "another version of node"),
    ],
)
def test_an_exit_that_cannot_get_better_is_told_with_advice(line: str, advice: str) -> None:
    found = hopeless(["starting", line], 1)
    assert found is not None
    assert advice in found


def test_a_shell_that_may_not_run_or_does_not_find_the_program_is_hopeless() -> None:
    assert "permissions" in (hopeless([], 126) or "")
    assert "no such program" in (hopeless([], 127) or "")


@pytest.mark.parametrize(
    "line",
    ["boom", "SyntaxError: Unexpected token '<' in JSON at position 0", "error when starting dev server:", "no ENOSPC"],
)
def test_any_other_exit_may_get_better(line: str) -> None:
    assert hopeless([line], 1) is None


@pytest.mark.parametrize(
    ("line", "base"),
    [
        (
            "  \x1b[32m➜\x1b[39m  \x1b[1mLocal\x1b[22m:   \x1b[36mhttp://127.0.0.1:\x1b[1m5173\x1b[22m/app/\x1b[39m",
            "/app/",
        ),
        ("┃ Local    http://localhost:5173/docs", "/docs"),
        ("   - Local:        http://localhost:5173", "/"),
        ("  ➜  Local:   http://[::1]:5173/", "/"),
    ],
)
def test_the_address_that_a_dev_server_prints_is_read(line: str, base: str) -> None:
    assert told_address(["hello", line], HERE) == Address("http", base=base)
    assert told_address([line.replace("http:", "https:")], HERE) == Address("https", base=base)


@pytest.mark.parametrize(
    "line",
    [
        "  ➜  Network: http://192.168.1.2:5173/",
        "  ➜  Local:   http://127.0.0.1:4173/",
        "  ➜  Local:   http://example.org:5173/",
        "proxy to http://127.0.0.1:5173/api",
        "Local time: 12:00",
    ],
)
def test_another_address_is_not_taken_for_its_own(line: str) -> None:
    assert told_address([line], HERE) is None


def test_a_server_for_other_machines_prints_its_address_as_a_network_s() -> None:
    there = Endpoint("192.168.1.2", 5173)
    assert told_address(["  ➜  Network: http://192.168.1.2:5173/app/"], there) == Address(base="/app/")


def test_a_death_by_signal_says_nothing_about_the_program() -> None:
    assert hopeless(["SyntaxError"], None) is None


def test_a_pattern_is_looked_for_in_each_line_without_its_colours() -> None:
    assert matches(r"listening on \d+$", ["hello", "\x1b[1mlistening on \x1b[32m8000\x1b[0m"]) == {}
    assert matches(r"on (?<port>\d+)(?P<rest>x)?$", ["on nothing", "on \x1b[32m8000\x1b[0m", "on 9"]) == {
        "port": "8000"
    }
    assert matches("hello world", ["hello", "world"]) is None


def test_an_end_is_named_by_its_code_or_its_signal() -> None:
    assert how_it_ended(3, None) == "exit code 3"
    assert how_it_ended(None, "SIGSEGV") == "SIGSEGV"


@pytest.mark.parametrize("line", ["ENOSPC: no space left on device, watch '/p'", "it was EMFILE, and so no watch"])
def test_an_error_of_watching_is_known_by_two_words_of_its_line(line: str) -> None:
    assert out_of_watches(["boom", line])
    assert not out_of_watches([line.replace("watch", "open"), "watch"])
