"""Parse the command line, and run one command.

Each command's function imports what only it needs, because the guard forks before anything heavy is loaded.
"""

from __future__ import annotations

import gc
import os
import sys

from sidecar import __version__
from sidecar.commands.dev import OPENER_PART
from sidecar.commands.doctor import DOCTOR_PART
from sidecar.commands.options import (
    AnyOptions,
    CleanOptions,
    CompletionsOptions,
    DevOptions,
    DoctorOptions,
    DoctorPartOptions,
    InitOptions,
    LogsOptions,
    OfProcesses,
    OpenerPartOptions,
    PsOptions,
    SchemaOptions,
    StdioOptions,
    UnpackOptions,
)
from sidecar.diagnostics import LEVELS, docs, say_error, set_level
from sidecar.exit_codes import EXIT_CLEAN, EXIT_FAILED, EXIT_USAGE
from sidecar.host.fds import is_terminal

TYPE_CHECKING = False  # see sidecar.errors
if TYPE_CHECKING:  # argparse is as heavy as everything that the guard loads, and an app passes no arguments
    import argparse
    from typing import NoReturn

PID_MAX = (1 << 31) - 1
PORT_MAX = 65_535
LINES_MAX = 1_000_000
SECONDS_MIN = 0.001
SECONDS_MAX = 86_400

EXAMPLE = "sidecar dev -- node server.js --port {port}"

EXAMPLES = f"""\
examples:
  sidecar dev                                    the dev server of this folder
  {EXAMPLE}    any program, on a free port
  sidecar init --dry-run                         what a Tauri app would get
"""

EXIT_CODES = """\
exit codes:
  0      clean: a shutdown request, or q; dev: the programs have ended with 0
  1      dev: a service failed, or the configuration is wrong
         clean: something could not be ended
         doctor: something is bad, or a claim is broken
         init: the project was left as it is
         any command: its output could not be written
  N      dev: a program that was never ready has ended with exit code N
         (128+S: by signal S)
  2      wrong usage
  3      the app is gone: stdin ended, or the watched process died
  69     this system is not supported yet
  70     an internal error; the trace is on stderr
  71     the system has no process, thread, descriptor or memory to spare
  128+N  ended by signal N (130: Ctrl-C), or signal N killed the supervisor (137)
"""

OPTIONS: dict[str, type[AnyOptions]] = {
    "dev": DevOptions,
    "init": InitOptions,
    "logs": LogsOptions,
    "ps": PsOptions,
    "clean": CleanOptions,
    "doctor": DoctorOptions,
    "stdio": StdioOptions,
    "schema": SchemaOptions,
    "unpack": UnpackOptions,
    "completions": CompletionsOptions,
}

HELP_COLUMN = 18
"""Column where a command's help begins, so that each command takes one line."""


def main(argv: list[str] | None = None) -> int:
    """Run a command; return the exit code."""
    ensure_standard_streams()
    words = sys.argv[1:] if argv is None else argv
    if words and words[0] == DOCTOR_PART:
        return _run(DoctorPartOptions(words=words[1:]))
    if words and words[0] == OPENER_PART:
        return _run(OpenerPartOptions())
    if not words and not is_terminal(0):
        return _run(StdioOptions())
    parser = make_parser()
    options = _parse(parser, words)
    gc.enable()  # ``__main__`` has disabled it
    match options:
        case None:
            parser.print_help()
            return EXIT_CLEAN
        case SchemaOptions():
            return _schema(options)
        case InitOptions():
            return _init(options)
        case UnpackOptions():
            return _unpack(options)
        case CompletionsOptions():
            return _completions(parser, options)
        case _:
            return _run(options)


def _parse(parser: argparse.ArgumentParser, words: list[str]) -> AnyOptions | None:
    """Return the options of a command; ``None`` to show the help. Set the log level. Wrong usage exits."""
    # the words after -- are a program's command line, which argparse must not parse
    own, program = (words[: words.index("--")], words[words.index("--") + 1 :]) if "--" in words else (words, [])
    parsed, unknown = parser.parse_known_args(own)
    parsed.program = program
    if unknown:
        hint = f"; a program goes after --, as in: {EXAMPLE}" if parsed.command == "dev" else ""
        parser.error(f"unrecognized arguments: {' '.join(unknown)}{hint}")
    if "--" in words and (parsed.command != "dev" or not any(program[:1])):
        parser.error(f"a program after -- belongs to 'sidecar dev', as in: {EXAMPLE}")
    set_level(parsed.log_level)
    if parsed.command is None and is_terminal(0):
        return None
    options = OPTIONS[parsed.command or "stdio"].of(parsed)
    if isinstance(options, DevOptions) and program:
        _check_program(parser, options)
    return options


def _check_program(parser: argparse.ArgumentParser, options: DevOptions) -> None:
    """Refuse options that we cannot pass on to the program. A known dev server gets them, and has a default port."""
    if options.config:
        parser.error("--config and a program after -- both say what to run: leave one out")
    if not options.host and not options.strict_port:
        return
    from sidecar.commands.dev.program import uses_port
    from sidecar.services.dev_script import Start, understand_words

    words = options.program
    if not uses_port(words) and isinstance(understand_words(words), Start):
        return
    if options.host and not uses_port(words):
        parser.error("--host needs a place in the program's arguments: write {host} (or {port}, {url}) there")
    if options.strict_port and not options.port:
        parser.error("--strict-port needs --port: a program has no default port")


def make_parser() -> argparse.ArgumentParser:
    """Make the parser of all commands and options."""
    import argparse

    class OneLineEach(argparse.RawDescriptionHelpFormatter):
        """Prints one line for each command, and no heading COMMAND, so that the help fits a screen."""

        def __init__(self, prog: str) -> None:
            super().__init__(prog, max_help_position=HELP_COLUMN)
            self._action_max_length = HELP_COLUMN - 2  # argparse forgets that names of commands are indented twice

        def _format_action(self, action: argparse.Action) -> str:
            text = super()._format_action(action)
            return text.partition("\n")[2] if isinstance(action, argparse._SubParsersAction) else text  # noqa: SLF001

    class Parser(argparse.ArgumentParser):
        """Adds the page of the documentation that lists the options to each error."""

        def error(self, message: str) -> NoReturn:
            super().error(f"{message}\n{docs('options', self.prog)}")

    parser = Parser(
        prog="sidecar",
        usage="sidecar [OPTIONS] COMMAND ...",
        description="Start dev servers on free ports, and leave no process behind.",
        epilog=EXAMPLES,
        formatter_class=OneLineEach,
    )
    parser.add_argument("--version", action="version", version=f"sidecar {__version__}")
    _common(parser, top=True)
    commands = parser.add_subparsers(dest="command", title="commands", metavar="COMMAND", prog="sidecar")

    def command(name: str, purpose: str, example: str, more: str = "") -> argparse.ArgumentParser:
        """Add a command. Its help shows the purpose, the options, an example, and the page of the documentation."""
        return commands.add_parser(
            name,
            help=purpose,
            description=f"{purpose[0].upper()}{purpose[1:]}.",
            epilog=f"example:\n  {example}\n\n{more}{docs('options', f'sidecar {name}')}",
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )

    dev = command(
        "dev", "run a project's services, or a program, in this terminal", "sidecar dev --port 3000 --open", EXIT_CODES
    )
    _common(dev)
    dev.add_argument("root", nargs="?", default=None, metavar="ROOT", help="the project (default: this folder)")
    dev.add_argument(
        "--port", type=_port, default=None, help="the preferred port; a program gets it as {port} and as $PORT"
    )
    dev.add_argument(
        "--config", default=None, metavar="FILE", help="read the services from FILE (default: sidecar.json, if any)"
    )
    dev.add_argument(
        "--strict-port", action="store_true", help="fail if the preferred port is taken, and name its holder"
    )
    dev.add_argument("--host", type=_host, default=None, help="the address to listen on (default: 127.0.0.1)")
    dev.add_argument(
        "--ready-timeout",
        type=_seconds,
        default=None,
        metavar="SECONDS",
        help="fail a start that takes longer (default: keep waiting, and report progress)",
    )
    dev.add_argument("--open", action="store_true", help="open the page in the browser once it is ready")
    dev.add_argument("--json", action="store_true", help="print the raw notifications, one JSON object a line")

    init = command("init", "add the sidecar to a Tauri app", "sidecar init --dry-run")
    init.add_argument("root", nargs="?", default=".", metavar="ROOT", help="the app's folder (default: this one)")
    init.add_argument("--plugin", metavar="WHERE", help="the plugin's crate: a folder, a git URL, or a version")
    init.add_argument("--dry-run", action="store_true", help="only show what would change")
    init.add_argument("--yes", action="store_true", help="do not ask")

    logs = command("logs", "print the output of this project's services", "sidecar logs api -f")
    logs.add_argument("name", nargs="?", default=None, metavar="NAME", help="only this service (default: all)")
    logs.add_argument("-n", "--lines", type=_lines, default=100, metavar="N", help="the last N lines (default: 100)")
    logs.add_argument("-f", "--follow", action="store_true", help="keep printing new lines, until Ctrl-C")

    ps = command("ps", "show every running sidecar, with its services", "sidecar ps --watch")
    ps.add_argument("--json", action="store_true", help="print one JSON object")
    ps.add_argument("--watch", action="store_true", help="refresh each second, until Ctrl-C")

    clean = command("clean", "list what killed sidecars left, ask, and clean it up", "sidecar clean --dry-run")
    clean.add_argument("--dry-run", action="store_true", help="only list it")
    clean.add_argument("--yes", action="store_true", help="do not ask")
    clean.add_argument("--json", action="store_true", help="print one JSON object; needs --dry-run or --yes")

    doctor = command("doctor", "check node, the project, ports and active guarantees", "sidecar doctor --prove")
    doctor.add_argument("root", nargs="?", default=".", metavar="ROOT", help="the project (default: this folder)")
    doctor.add_argument("--port", type=_port, default=None, help="the port to check (default: the project's)")
    doctor.add_argument("--prove", action="store_true", help="start hostile process trees, kill, and count survivors")
    doctor.add_argument("--json", action="store_true", help="print one JSON object")

    stdio = command("stdio", "speak JSON-RPC (the default without a terminal)", "sidecar stdio --log-level debug")
    _common(stdio)

    schema = command("schema", "print the JSON Schema of the protocol", "sidecar schema --config > sidecar.schema.json")
    which = schema.add_mutually_exclusive_group()
    which.add_argument("--config", action="store_true", help="print the schema of plugins.sidecar in tauri.conf.json")
    which.add_argument("--file", action="store_true", help="print the schema of sidecar.json")

    unpack = command("unpack", "unpack this one-file binary, for a macOS app", "sidecar unpack sidecar-folder")
    unpack.add_argument("folder", metavar="FOLDER", help="the folder to make; one from an earlier call is replaced")

    completions = command("completions", "print a completion script for your shell", "sidecar completions bash")
    completions.add_argument("shell", choices=("bash", "zsh", "tcsh"), help="the shell")
    return parser


def _common(parser: argparse.ArgumentParser, *, top: bool = False) -> None:
    """Add the options that may stand before or after the command's name. Only the command's own help shows them."""
    import argparse

    default = None if top else argparse.SUPPRESS
    parser.add_argument(
        "--parent-pid",
        type=_pid,
        default=default,
        metavar="PID",
        help=argparse.SUPPRESS
        if top
        else "end when this process ends (default: the process that launched the sidecar; for 'dev' under nohup: none)",
    )
    parser.add_argument(
        "--log-level",
        choices=tuple(LEVELS),
        default="warning" if top else argparse.SUPPRESS,
        metavar="LEVEL",
        help=argparse.SUPPRESS if top else f"how much to say on stderr: {', '.join(LEVELS)} (default: warning)",
    )


def _pid(text: str) -> int:
    return _number(text, "process id", PID_MAX)


def _port(text: str) -> int:
    return _number(text, "port", PORT_MAX)


def _lines(text: str) -> int:
    return _number(text, "number of lines", LINES_MAX, least=0)


def _number(text: str, what: str, most: int, least: int = 1) -> int:
    number = int(text) if text.isdecimal() and text.isascii() and len(text) <= len(str(most)) else -1
    if not least <= number <= most:
        raise _wrong(f"{text} is not a {what}: {least} to {most}")
    return number


def _seconds(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = 0.0
    if not SECONDS_MIN <= seconds <= SECONDS_MAX:
        raise _wrong(f"{text} is not a number of seconds: {SECONDS_MIN} to {SECONDS_MAX}")
    return seconds


def _host(text: str) -> str:
    if not text:
        raise _wrong("the address is empty")
    return text


def _wrong(message: str) -> Exception:
    import argparse

    return argparse.ArgumentTypeError(message)


def _run(options: OfProcesses) -> int:
    """Run a command that works on processes.

    A supervisor that loads its modules makes no garbage, and collecting it would slow down the start.
    ``PosixGuard._take_over`` and ``sidecar.runtime.run.all_is_loaded`` turn the collector on.
    """
    if isinstance(options, StdioOptions | DevOptions):
        gc.disable()
    else:
        gc.enable()
    from sidecar.commands import dispatch as commands

    return commands.run(options)


def _schema(options: SchemaOptions) -> int:
    from sidecar.commands.schema import config_schema, file_schema, protocol_schema
    from sidecar.runtime.streams import write_all

    make = config_schema if options.config else file_schema if options.file else protocol_schema
    if not write_all(1, make().encode()):
        say_error("the schema could not be written: stdout is closed, or its disk is full", "options", "sidecar schema")
        return EXIT_FAILED
    return EXIT_CLEAN


def _unpack(options: UnpackOptions) -> int:
    from pathlib import Path

    from sidecar.commands import unpack

    return unpack.run(Path(options.folder).absolute())


def _init(options: InitOptions) -> int:
    try:
        from sidecar.commands.init import command
    except ModuleNotFoundError as error:
        if error.name != "tomlkit":
            raise
        say_error("init needs the package tomlkit: pip install tauri-sidecar", "options", "sidecar init")
        return EXIT_USAGE
    return command.run(options.root, plugin=options.plugin, dry_run=options.dry_run, yes=options.yes)


def _completions(parser: argparse.ArgumentParser, options: CompletionsOptions) -> int:
    try:
        import shtab
    except ImportError:
        say_error("completions need the package shtab: pip install tauri-sidecar", "options", "sidecar completions")
        return EXIT_USAGE
    sys.stdout.write(shtab.complete(parser, shell=options.shell) + "\n")
    return EXIT_CLEAN


def ensure_standard_streams() -> None:
    """Open the null device on each closed descriptor of 0, 1 and 2. Else a pipe of ours could become stdout."""
    for fd in (0, 1, 2):
        try:
            os.fstat(fd)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # EBADF: we were started without it; open gives the lowest free number
    # Python has None for a stream that was closed, but argparse of Python 3.11.2 (Debian 12) writes to it
    sys.stdout = sys.stdout or os.fdopen(1, "w", closefd=False)
    sys.stderr = sys.stderr or os.fdopen(2, "w", closefd=False)
