"""The command line: arguments → one of the commands.

What only one command needs is imported in its function: the guard is forked before anything heavy is loaded.
"""

from __future__ import annotations

import os
import sys
from types import SimpleNamespace

from sidecar import __version__
from sidecar.console import OPENER_PART
from sidecar.diagnostics import LEVELS, say, set_level
from sidecar.doctor import DOCTOR_PART
from sidecar.host.fds import is_terminal

TYPE_CHECKING = False  # see sidecar.errors
if TYPE_CHECKING:  # as heavy as all that the guard needs, and an app's sidecar has nothing to be parsed
    import argparse

PID_MAX = (1 << 31) - 1
PORT_MAX = 65_535
SECONDS_MIN = 0.001
SECONDS_MAX = 86_400

EXAMPLE = "sidecar dev -- node server.js --port {port}"

EXIT_CODES = """\
exit codes:
  0    clean: a shutdown request, or q in the standalone view
  1    dev: a service failed, or the configuration is wrong; clean: something could not be ended; doctor: something is
       bad, or a claim is broken; init: the project was left as it is; nobody reads what is printed
  N    dev: a program that was never ready has ended with exit code N (128+S: by signal S)
  2    wrong usage
  3    the app is gone: stdin ended, or the watched process died
  69   this system is not supported yet
  70   an internal error; the trace is on stderr
  71   the system has no process, thread, descriptor or memory to spare for a start
  128+N  ended by signal N (130: Ctrl-C), or the supervisor was killed by it (137)
"""


def main(argv: list[str] | None = None) -> int:
    """Run a command; the exit code."""
    ensure_standard_streams()
    words = sys.argv[1:] if argv is None else argv
    if words and words[0] in {DOCTOR_PART, OPENER_PART}:
        return _run(words[0], SimpleNamespace(words=words[1:]))
    if not words and not is_terminal(0):
        return _run("stdio", SimpleNamespace(parent_pid=None))
    parser = make_parser()
    # what follows -- is a program's command line, and none of argparse's business
    own, words_of_program = (
        (words[: words.index("--")], words[words.index("--") + 1 :]) if "--" in words else (words, [])
    )
    options, unknown = parser.parse_known_args(own, SimpleNamespace())
    options.program = words_of_program
    if unknown:
        hint = f"; a program goes after --, as in: {EXAMPLE}" if options.command == "dev" else ""
        parser.error(f"unrecognized arguments: {' '.join(unknown)}{hint}")
    if "--" in words and (options.command != "dev" or not any(words_of_program[:1])):
        parser.error(f"a program after -- belongs to 'sidecar dev', as in: {EXAMPLE}")
    if options.command == "dev" and words_of_program and (options.host or options.strict_port):
        _check_program(parser, options, words_of_program)
    set_level(options.log_level)
    command = options.command or ("help" if is_terminal(0) else "stdio")
    if command == "schema":
        return _schema(of_config=options.config)
    if command == "init":
        return _init(options)
    if command == "completions":
        return _completions(parser, options)
    if command != "help":
        return _run(command, options)
    parser.print_help()
    return 0


def _check_program(parser: argparse.ArgumentParser, options: SimpleNamespace, words: list[str]) -> None:
    """Refuse options that a program could not be told of. A dev server that is known is told, and has a port."""
    from sidecar.console.program import uses_port
    from sidecar.services.project import Start, understand_words

    if not uses_port(words) and isinstance(understand_words(words), Start):
        return
    if options.host and not uses_port(words):
        parser.error("the program is not told its address: put {host} (or {port}, {url}) where it takes one")
    if options.strict_port and not options.port:
        parser.error("--strict-port needs --port: a program has no port of its own")


def make_parser() -> argparse.ArgumentParser:
    """All commands and options."""
    import argparse

    parser = argparse.ArgumentParser(
        prog="sidecar",
        description="Starts dev servers on free ports, says ready when they are, and leaves no process behind.",
        epilog=EXIT_CODES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"sidecar {__version__}")
    _common(parser, top=True)
    commands = parser.add_subparsers(dest="command", metavar="COMMAND")

    stdio = commands.add_parser("stdio", help="speak JSON-RPC over stdin and stdout (default, unless at a terminal)")
    _common(stdio)

    dev = commands.add_parser("dev", help="run one service, or a Tauri project's, in this terminal")
    _common(dev)
    dev.add_argument(
        "root",
        nargs="?",
        default=None,
        metavar="ROOT",
        help="the project: a front end's or Tauri's (default: this folder)",
    )
    dev.add_argument(
        "--port", type=_port, default=None, help="the preferred port; a program gets it as {port} and as $PORT"
    )
    dev.add_argument("--strict-port", action="store_true", help="fail where the preferred port is not free")
    dev.add_argument("--host", type=_host, default=None, help="the address to listen on (default: 127.0.0.1)")
    dev.add_argument(
        "--ready-timeout",
        type=_seconds,
        default=None,
        metavar="SECONDS",
        help="end a service that is not ready after so long (default: wait, and say what is found)",
    )
    dev.add_argument("--open", action="store_true", help="open the page in the browser once it is ready")
    dev.add_argument("--json", action="store_true", help="print the raw notifications, one JSON object a line")

    ps = commands.add_parser("ps", help="show every sidecar that runs, with its app and its services")
    ps.add_argument("--json", action="store_true", help="print one JSON object")
    ps.add_argument("--watch", action="store_true", help="show it again each second, until Ctrl-C")

    clean = commands.add_parser("clean", help="show what killed sidecars have left, ask, and end it")
    clean.add_argument("--dry-run", action="store_true", help="only show it")
    clean.add_argument("--yes", action="store_true", help="do not ask")
    clean.add_argument("--json", action="store_true", help="print one JSON object; needs --dry-run or --yes")

    doctor = commands.add_parser(
        "doctor", help="look at the project, its dev server, node, ports, and what can be guaranteed here"
    )
    doctor.add_argument("root", nargs="?", default=".", metavar="ROOT", help="the project (default: this folder)")
    doctor.add_argument("--port", type=_port, default=None, help="the port to look at (default: the project's)")
    doctor.add_argument("--prove", action="store_true", help="start hostile trees, kill for real, and count survivors")
    doctor.add_argument("--json", action="store_true", help="print one JSON object")

    init = commands.add_parser("init", help="put the sidecar into an existing Tauri + Vite project")
    init.add_argument("root", nargs="?", default=".", metavar="ROOT", help="the app's folder (default: this one)")
    init.add_argument(
        "--mode", choices=("early", "setup"), default="early", help="when Vite is started (default: early)"
    )
    init.add_argument("--plugin", metavar="WHERE", help="the plugin's crate: a folder, a git URL, or a version")
    init.add_argument("--dry-run", action="store_true", help="only show what would change")
    init.add_argument("--yes", action="store_true", help="do not ask")

    schema = commands.add_parser("schema", help="print the JSON Schema of the protocol")
    schema.add_argument("--config", action="store_true", help="print the one of plugins.sidecar in tauri.conf.json")
    completions = commands.add_parser("completions", help="print a completion script for your shell")
    completions.add_argument("shell", choices=("bash", "zsh", "tcsh"))
    return parser


def _common(parser: argparse.ArgumentParser, *, top: bool = False) -> None:
    """Options that may stand before or after the command's name."""
    import argparse

    default = None if top else argparse.SUPPRESS
    parser.add_argument(
        "--parent-pid",
        type=_pid,
        default=default,
        metavar="PID",
        help="end when this process ends (default: the process that launched the sidecar; for 'dev' under nohup: none)",
    )
    parser.add_argument(
        "--log-level",
        choices=tuple(LEVELS),
        default="warning" if top else argparse.SUPPRESS,
        help="how much to say on stderr",
    )


def _pid(text: str) -> int:
    return _number(text, "process id", PID_MAX)


def _port(text: str) -> int:
    return _number(text, "port", PORT_MAX)


def _number(text: str, what: str, most: int) -> int:
    number = int(text) if text.isdecimal() and text.isascii() and len(text) <= len(str(most)) else 0
    if not 1 <= number <= most:
        raise _wrong(f"{text} is no {what}: 1 to {most}")
    return number


def _seconds(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = 0.0
    if not SECONDS_MIN <= seconds <= SECONDS_MAX:
        raise _wrong(f"{text} is no number of seconds: {SECONDS_MIN} to {SECONDS_MAX}")
    return seconds


def _host(text: str) -> str:
    if not text:
        raise _wrong("an empty text is no address")
    return text


def _wrong(message: str) -> Exception:
    import argparse

    return argparse.ArgumentTypeError(message)


def _run(command: str, options: SimpleNamespace) -> int:
    """What works on processes."""
    from sidecar import commands

    return commands.run(command, options)


def _schema(*, of_config: bool) -> int:
    from sidecar.pumps import write_all
    from sidecar.schema import config_schema, protocol_schema

    if not write_all(1, (config_schema() if of_config else protocol_schema()).encode()):
        say("error", "the schema could not be written: stdout is closed, or its disk is full")
        return 1
    return 0


def _init(options: SimpleNamespace) -> int:
    try:
        from sidecar.init import command
    except ModuleNotFoundError as error:
        if error.name != "tomlkit":
            raise
        say("error", "init needs the package tomlkit: pip install 'tauri-sidecar[terminal]'")
        return 2
    return command.run(options.root, mode=options.mode, plugin=options.plugin, dry_run=options.dry_run, yes=options.yes)


def _completions(parser: argparse.ArgumentParser, options: SimpleNamespace) -> int:
    try:
        import shtab
    except ImportError:
        say("error", "completions need the package shtab: pip install 'tauri-sidecar[terminal]'")
        return 2
    sys.stdout.write(shtab.complete(parser, shell=options.shell) + "\n")
    return 0


def ensure_standard_streams() -> None:
    """Make 0, 1 and 2 exist: a pipe of ours that landed on a closed one's number would be taken for stdout."""
    for fd in (0, 1, 2):
        try:
            os.fstat(fd)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # EBADF: we were started without it; open gives the lowest free number
    # Python made no objects for closed ones, and argparse of Debian 12's 3.11.2 writes to them all the same
    sys.stdout = sys.stdout or os.fdopen(1, "w", closefd=False)
    sys.stderr = sys.stderr or os.fdopen(2, "w", closefd=False)
