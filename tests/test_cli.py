"""The command line: accepted and refused arguments, and exit codes."""

from __future__ import annotations

import json
import os
import re
import shlex
import signal
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from sidecar import __version__, cli
from sidecar.cli import EXIT_CODES, main, make_parser
from sidecar.commands.options import DevOptions
from sidecar.commands.schema import protocol_schema
from tests.support.command import BINARY, MODULE, SIDECAR

with_shtab = pytest.mark.skipif(
    BINARY is not None or find_spec("shtab") is None,
    reason="completions need shtab, which the binary lacks, and so does the Python under Wine",
)

COMMANDS = ("dev", "init", "logs", "ps", "clean", "doctor", "stdio", "schema", "unpack", "completions")

WAIT_S = 60
"""Timeout of one run: far more than a start takes on a busy machine."""


@pytest.fixture
def run(tmp_path: Path) -> Any:
    """Run ``python -m sidecar`` to its end, without a terminal."""

    def run(*words: str, stdin: Any = subprocess.DEVNULL, **more: Any) -> subprocess.CompletedProcess[str]:
        env = {**os.environ, "SIDECAR_STATE_DIR": str(tmp_path / "state"), **more.pop("env", {})}
        flags = more.pop("python", ())
        command = [sys.executable, *flags, *MODULE, *words] if flags else [*SIDECAR, *words]
        return subprocess.run(
            command, stdin=stdin, capture_output=True, encoding="utf-8", timeout=WAIT_S, env=env, check=False, **more
        )

    return run


# ── print and exit ────────────────────────────────────────────────────────────────────────────────────────────────────


def test_the_version_is_one_line(run: Any) -> None:
    done = run("--version")
    assert (done.returncode, done.stdout, done.stderr) == (0, f"sidecar {__version__}\n", "")


@pytest.mark.parametrize("words", [["--help"], ["-h"], ["stdio", "--help"], ["dev", "-h"], ["completions", "-h"]])
def test_help_is_there_for_every_command(words: list[str], run: Any) -> None:
    done = run(*words)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("usage: sidecar")


def test_the_help_fits_a_screen_and_names_every_command(run: Any) -> None:
    lines = run("--help", env={"COLUMNS": "80"}).stdout.splitlines()
    assert len(lines) <= 24
    assert max(map(len, lines)) <= 80
    assert {line.split()[0] for line in lines if line.startswith("    ")} == set(COMMANDS)
    assert len([line for line in lines if line.startswith("  sidecar ")]) == 3, "examples"


@pytest.mark.parametrize("name", COMMANDS)
def test_the_help_of_a_command_has_an_example_for_the_parser_and_its_page(name: str, run: Any) -> None:
    text = run(name, "--help").stdout
    [example] = re.findall(r"^example:\n  sidecar (.*)$", text, re.MULTILINE)
    words = shlex.split(example.partition(" > ")[0])
    assert words[0] == name
    make_parser().parse_args(words)
    assert re.fullmatch(rf"Docs: .*option.*sidecar.{name}", text.splitlines()[-1], re.IGNORECASE)


def test_the_help_of_dev_has_every_exit_code(run: Any) -> None:
    assert EXIT_CODES.strip() in run("dev", "--help").stdout


def test_the_schema_goes_to_stdout_and_needs_nothing_else(run: Any, tmp_path: Path) -> None:
    done = run("schema", cwd=tmp_path, env={"PYTHONPATH": os.getcwd()})
    assert (done.returncode, done.stdout, done.stderr) == (0, protocol_schema(), "")
    assert json.loads(done.stdout)["x-protocol"]["version"] == 1


@with_shtab
@pytest.mark.parametrize(("shell", "sign"), [("bash", "complete "), ("zsh", "#compdef sidecar"), ("tcsh", "complete ")])
def test_a_completion_script_is_printed_for_each_shell(shell: str, sign: str, run: Any) -> None:
    done = run("completions", shell)
    assert (done.returncode, done.stderr) == (0, "")
    assert sign in done.stdout
    assert "completions" in done.stdout


@with_shtab
@pytest.mark.skipif(sys.platform == "win32", reason="a bash on Windows uses other paths")
def test_bash_itself_takes_its_completion_script_and_completes_by_it(run: Any, tmp_path: Path) -> None:
    script = tmp_path / "completion"
    script.write_text(run("completions", "bash").stdout, encoding="utf-8")
    ask = f"source {script}; COMP_WORDS=(sidecar d); COMP_CWORD=1; f=$(complete -p sidecar); f=${{f#*-F }}; ${{f%% *}}"
    done = subprocess.run(["bash", "-c", f"{ask}; echo ${{COMPREPLY[@]}}"], capture_output=True, text=True, check=True)
    assert "dev" in done.stdout.split()


def test_without_shtab_completions_say_what_to_install(run: Any, tmp_path: Path) -> None:
    (tmp_path / "shtab.py").write_text("raise ImportError\n", encoding="utf-8")
    done = run("completions", "bash", env={"PYTHONPATH": str(tmp_path)})
    assert (done.returncode, done.stdout) == (2, "")
    assert "pip install tauri-sidecar" in done.stderr


# ── wrong usage ───────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("words", [["--host", "::1"], ["--strict-port"]], ids=" ".join)
def test_a_known_dev_server_is_told_its_address_and_has_a_port(
    words: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[list[str]] = []

    def run(options: DevOptions) -> int:
        asked.append(options.program)
        return 0

    monkeypatch.setattr(cli, "_run", run)
    assert main(["dev", *words, "--", "vite", "--mode", "staging"]) == 0
    assert asked == [["vite", "--mode", "staging"]]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["frob"], "invalid choice: 'frob'"),
        (["--frob"], "--frob"),
        (["stdio", "extra"], "extra"),
        (["schema", "extra"], "extra"),
        (["completions"], "shell"),
        (["completions", "fish"], "'fish'"),
        (["--log-level", "loud"], "'loud'"),
        (["--parent-pid"], "expected one argument"),
        (["--parent-pid", "abc"], "abc is not a process id: 1 to 2147483647"),
        (["--parent-pid", "2147483648"], "2147483648 is not a process id"),
        (["--parent-pid", ""], " is not a process id"),
        (["--parent-pid", "1.5"], "1.5 is not a process id"),
        (["--parent-pid", "0"], "0 is not a process id"),
        (["--parent-pid", "-1"], "-1 is not a process id"),
        (["stdio", "--parent-pid", "0"], "0 is not a process id"),
        (["dev", "--port", "0"], "0 is not a port"),
        (["dev", "--port", "65536"], "65536 is not a port"),
        (["dev", "--port", "http"], "http is not a port: 1 to 65535"),
        (["dev", "--host", "::1", "--", "node"], "write {host} (or {port}, {url}) there"),
        (["dev", "--strict-port", "--", "node", "{port}"], "--strict-port needs --port"),
        (["dev", "--config", "x.json", "--", "node"], "--config and a program after -- both say what to run"),
        (["logs", "-n", "-1"], "number of lines"),
        (["dev", "--"], "sidecar dev -- node server.js"),
        (["dev", "node", "app.js"], "unrecognized arguments: app.js; a program goes after --"),
        (["dev", "--mode", "staging"], "unrecognized arguments: --mode; a program goes after --"),
        (["ps", "web"], "unrecognized arguments: web\n"),
        (["--", "node"], "sidecar dev -- node server.js"),
        (["stdio", "--", "node"], "sidecar dev -- node server.js"),
    ],
    ids=" ".join,
)
def test_wrong_usage_is_told_on_stderr_with_code_2(
    words: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as left:
        main(words)
    printed = capsys.readouterr()
    assert (left.value.code, printed.out) == (2, "")
    assert said in printed.err
    assert printed.err.startswith("usage: sidecar")
    assert printed.err.splitlines()[-1].startswith("Docs: ")


def test_the_code_of_wrong_usage_is_the_processs_own(run: Any) -> None:
    done = run("frob")
    assert (done.returncode, done.stdout) == (2, "")


# ── common options ────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("words", [["--parent-pid", "7", "stdio"], ["stdio", "--parent-pid", "7"], ["--parent-pid=7"]])
def test_common_options_stand_before_or_behind_the_command(words: list[str]) -> None:
    options = make_parser().parse_args([*words, "--log-level", "debug"] if "stdio" in words else words)
    assert options.parent_pid == 7
    assert options.log_level == ("debug" if "stdio" in words else "warning")


@pytest.mark.parametrize("words", [[], ["stdio"]])
def test_without_a_terminal_it_speaks_the_protocol_and_ends_with_stdin(words: list[str], run: Any) -> None:
    line = '{"jsonrpc":"2.0","id":1,"method":"initialize","params":{"protocolVersion":1}}\n'
    done = run(*words, stdin=None, input=line)
    assert json.loads(done.stdout.splitlines()[0])["result"]["server"]["version"] == __version__
    assert done.returncode == 3, "stdin has ended: the app is gone"
    assert "Traceback" not in done.stderr


def test_after_a_shutdown_the_code_is_0(run: Any) -> None:
    done = run(stdin=None, input='{"jsonrpc":"2.0","id":1,"method":"shutdown"}\n')
    assert json.loads(done.stdout) == {"jsonrpc": "2.0", "id": 1, "result": {"stopped": []}}
    assert (done.returncode, done.stderr) == (0, "")


def test_a_process_to_watch_that_is_dead_already_is_told_with_code_3(run: Any) -> None:
    with subprocess.Popen([sys.executable, "-I", "-S", "-c", ""]) as gone:
        gone.wait(WAIT_S)
        done = run("--parent-pid", str(gone.pid))
    assert (done.returncode, done.stdout) == (3, "")
    assert "is dead already" in done.stderr


@pytest.mark.skipif(sys.platform == "win32", reason="on Windows a process cannot send itself a signal")
@pytest.mark.parametrize("words", [["stdio"], ["dev", "--json"]])
def test_interrupted_before_it_takes_signals_it_ends_without_a_trace(
    words: list[str], run: Any, tmp_path: Path
) -> None:
    """A fake of the first heavy module interrupts the process during its import."""
    (tmp_path / "msgspec.py").write_text("import os, signal\nos.kill(os.getpid(), signal.SIGINT)\nsignal.pause()\n")
    done = run(*words, python=("-B",), env={"PYTHONPATH": str(tmp_path)})
    assert (abs(done.returncode) % 128, done.stdout, done.stderr) == (signal.SIGINT, "", "")


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no pty module")
def test_at_a_terminal_it_prints_its_help(run: Any) -> None:
    if sys.platform != "win32":
        ours, theirs = os.openpty()
        try:
            done = run(stdin=theirs)
        finally:
            os.close(ours)
            os.close(theirs)
        assert (done.returncode, done.stderr) == (0, "")
        assert done.stdout.startswith("usage: sidecar")


@pytest.mark.skipif(sys.platform == "win32", reason="the test closes descriptors by a POSIX shell")
def test_it_can_be_started_without_any_standard_stream(tmp_path: Path) -> None:
    """Otherwise our own pipes would get the numbers 0, 1 and 2, and output would go into them."""
    words = ["sh", "-c", 'exec "$@" <&- >&- 2>&-', "sh", *SIDECAR, "--version"]
    assert subprocess.run(words, check=False, timeout=WAIT_S).returncode == 0


def test_the_command_and_the_module_are_the_same(run: Any) -> None:
    command = Path(sys.executable).parent / ("sidecar.exe" if sys.platform == "win32" else "sidecar")
    if sys.platform == "win32" and not command.exists():
        pytest.skip("the package is not installed, as under Wine")
    done = subprocess.run([command, "--help"], capture_output=True, text=True, timeout=WAIT_S, check=True)
    assert done.stdout == run("--help").stdout


def test_the_light_commands_load_nothing_heavy(run: Any) -> None:
    """The guard must fork before heavy imports, and printing the version needs no imports at all."""
    done = run("--version", python=("-X", "importtime"))
    loaded = set(re.findall(r"\| +([\w.]+)$", done.stderr, re.MULTILINE))
    assert "sidecar.cli" in loaded
    assert not {"msgspec", "psutil", "rich", "shtab", "asyncio", "sidecar.runtime.loop"} & loaded


def test_apps_start_loads_nothing_that_only_other_commands_need(run: Any) -> None:
    """The guard would keep it in memory as long as the app runs. msgspec by itself imports more than it needs."""
    done = run(python=("-X", "importtime"))
    loaded = set(re.findall(r"\| +([\w.]+)$", done.stderr, re.MULTILINE))
    assert "sidecar.commands.stdio" in loaded
    unneeded = {"argparse", "textwrap"} | ({"platform"} if sys.platform == "linux" else set())
    assert not unneeded & loaded
    assert done.returncode == 3
