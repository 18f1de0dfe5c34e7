"""Examining a checkout runs nothing in it, follows no link out of it, changes nothing, and ends.

Each command that examines one is tried with each shape of hostile file. ``tests/children/watched.py`` runs it and
records its accesses.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

if sys.platform != "linux":
    pytest.skip("needs a bound on memory, /proc and /dev", allow_module_level=True)

from sidecar.cli import make_parser
from tests.commands.init.support import FILES, make
from tests.support.command import SIDECAR

ROOT = Path(__file__).resolve().parents[2]
WATCHED = ROOT / "tests" / "children" / "watched.py"
HANG_S = 280
"""Timeout: far more than all commands on one checkout take on a busy machine."""

PLUGIN = ("--plugin", "https://sidecar.test/plugin.git")
LOOKS: dict[str, list[tuple[str, ...]]] = {
    "doctor": [("doctor",), ("doctor", "--json"), ("doctor", "src-tauri"), ("doctor", "{root}")],
    "init": [
        ("init", "--dry-run", *PLUGIN),
        ("init", "--dry-run", "src-tauri"),
        ("init", "--dry-run", "{root}", *PLUGIN),
    ],
    "ps": [("ps",), ("ps", "--json")],
    "clean": [("clean", "--dry-run"), ("clean", "--dry-run", "--json")],
    "logs": [("logs",), ("logs", "web", "-n", "3")],
    "schema": [("schema",), ("schema", "--config"), ("schema", "--file")],
    "completions": [("completions", "bash")],
}
PARTS = 8
"""Each shape is tried with every eighth file, a different eighth for each shape, as all pairs take minutes.
``SIDECAR_ALL_SHAPES=1`` tries all pairs, as CI does each night."""
DEV = [("dev", "."), ("dev", "src-tauri")]
"""The command that afterwards runs the project. Until then it only examines it."""
NO_LOOKS = {"dev", "stdio", "unpack"}

PATHS = (
    "package.json",
    "sidecar.json",
    "vite.config.js",
    "index.html",
    ".nvmrc",
    "mise.toml",
    ".git",
    "package-lock.json",
    "pnpm-workspace.yaml",
    "tsconfig.json",
    "packages",
    "dev.mjs",
    "node_modules",
    "node_modules/vite",
    "node_modules/vite/package.json",
    "node_modules/vite/bin/vite.js",
    "src-tauri",
    "src-tauri/tauri.conf.json",
    "src-tauri/tauri.linux.conf.json",
    "src-tauri/Cargo.toml",
    "src-tauri/Cargo.lock",
    "src-tauri/build.rs",
    "src-tauri/src/main.rs",
    "src-tauri/capabilities",
    "src-tauri/capabilities/default.json",
    "src-tauri/gen/android",
    "src-tauri/tauri.android.conf.json",
    "src-tauri/.gitignore",
    "src-tauri/binaries",
    "src-tauri/binaries/sidecar-x86_64-unknown-linux-gnu",
)
"""Files of a project that are read, searched for or written."""

OUTSIDE = "sesame"
"""Text in each file outside the project, to which links lead."""

SHOWN = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u00ad\u061c\u180e\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\U000e0000-\U000e007f]"
)
MARKS = "a\u202eb\u2066c\u2069d\u200be\ufefff\x9b2Jg\u00adh\U000e0041i\x1b]0;title\x07\x7fj\u200dk\r"


class Place:
    """A folder with a project, its surroundings, and the place where its programs would leave traces if they ran."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.outside = folder / "outside"
        self.root = folder / "checkout"
        self.marks = folder / "marks"
        self.home = folder / "home"
        for each in (self.outside, self.root, self.marks, self.home, folder / "cases", folder / "state"):
            each.mkdir()
        self.user = folder / "bin"
        self.user.mkdir()
        run_hook = "test -x ./.tc/hook && ./.tc/hook; test -x ../.tc/hook && ../.tc/hook"
        self._program(self.user / "node", f"{run_hook}; echo v22.12.0")
        self._program(self.user / "rustc", f"{run_hook}; echo x86_64-unknown-linux-gnu")
        make(self.outside)
        for path in PATHS:
            self._plain(self.outside / path, path)
        for file in self.outside.rglob("*.json"):
            file.write_text(
                json.dumps({"name": OUTSIDE, "version": OUTSIDE, "scripts": {"dev": f"vite --mode {OUTSIDE}"}})
            )

    def _program(self, path: Path, line: str) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"#!/bin/sh\n{line}\n")
        path.chmod(0o755)

    def _plain(self, path: Path, name: str) -> None:
        if path.exists():
            return
        if "." in path.name or name.endswith(("LICENSE", "gnu")):
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(f"{OUTSIDE}\n")
        else:
            path.mkdir(parents=True)

    def project(self, **changed: str | None) -> None:
        """Make an honest project, with its own programs in all places that may be searched."""
        config = FILES["src-tauri/tauri.conf.json"]
        make(self.root, **{"src-tauri/tauri.conf.json": config, **changed})
        files = {
            "vite.config.js": "export default { server: { port: 4000 } }",
            "node_modules/vite/package.json": '{"version": "7.0.0", "bin": {"vite": "bin/vite.js"}}',
            "node_modules/vite/bin/vite.js": "",
            "rust-toolchain.toml": '[toolchain]\npath = "/proc/self/cwd/.tc"\n',
            "src-tauri/rust-toolchain.toml": '[toolchain]\npath = "/proc/self/cwd/.tc"\n',
            ".npmrc": "script-shell=./node\nnode-options=--require ./hook.cjs\n",
            ".tool-versions": "nodejs path:./.tc\n",
            ".node-version": "../../../.tc\n",
            "mise.toml": '[env]\n_.source = "./.tc/hook"\n[hooks]\nenter = "./.tc/hook"\n',
            ".envrc": "./.tc/hook\n",
            ".cargo/config.toml": '[build]\nrustc = "./.tc/hook"\n',
            "bunfig.toml": 'preload = ["./hook.cjs"]\n',
        }
        for name, text in files.items():
            path = self.root / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        names = (
            "node",
            "npm",
            "npx",
            "yarn",
            "pnpm",
            "bun",
            "deno",
            "corepack",
            "rustc",
            "cargo",
            "rustup",
            "git",
            "tauri",
        )
        self._program(self.root / "bin" / "node", f'echo "$0 in $PWD" >> {self.marks}/ran; echo v99.0.0')
        for folder in (".", "node_modules/.bin", "src-tauri", "bin"):
            for name in names:
                if (folder, name) != ("bin", "node"):
                    (self.root / folder / name).parent.mkdir(exist_ok=True)
                    os.link(self.root / "bin" / "node", self.root / folder / name)
        for place in (".tc", "src-tauri/.tc"):
            self._program(self.root / place / "hook", f"echo hook in $PWD >> {self.marks}/ran")

    def put(self, path: str) -> Path:
        """Remove what is at this path in the project, make the folders above; return the path."""
        place = self.root / path
        if place.is_dir() and not place.is_symlink():
            place.rename(self.folder / f"old-{path.replace('/', '-')}")
        else:
            place.unlink(missing_ok=True)
        place.parent.mkdir(parents=True, exist_ok=True)
        return place

    def env(self) -> dict[str, str]:
        path = f"./node_modules/.bin::.:bin:{self.root}/node_modules/.bin:{self.user}:/usr/bin:/bin"
        return {
            "PATH": path,
            "HOME": str(self.home),
            "SHELL": "/bin/sh",
            "LANG": "C.UTF-8",
            "SIDECAR_STATE_DIR": str(self.folder / "state"),
        }

    def snapshot(self, *, project: bool) -> dict[str, tuple[int, int, int, int]]:
        """Return every file around the project, and on request those of the project."""
        left = {self.folder / "cases", self.folder / "state", *(() if project else (self.root,))}
        found = {}
        for place, folders, files in os.walk(self.folder):
            folders[:] = [name for name in folders if Path(place, name) not in left]
            for path in (Path(place, name) for name in (*folders, *files)):
                it = path.lstat()
                found[str(path)] = (it.st_mode, it.st_size, it.st_mtime_ns, it.st_ino)
        return found


class Look:
    """A command's accesses and output."""

    def __init__(self, case: dict[str, Any]) -> None:
        self.words = case["words"]
        self.code = int(Path(case["code"]).read_text())
        self.out = Path(case["out"]).read_bytes().decode()
        self.err = Path(case["err"]).read_bytes().decode()
        self.deeds = [json.loads(line) for line in Path(case["notes"]).read_bytes().splitlines()]

    def faults(self, place: Place) -> Iterator[str]:
        """Yield what it should not have done."""
        root, outside = str(place.root), str(place.outside)
        of_dev = self.words[0] == "dev"
        if self.code not in {0, 1, 2}:
            yield f"code {self.code}: {self.err[-2000:]}"
        if "Traceback" in self.err:
            yield self.err[-2000:]
        if self.code and not (self.out + self.err).strip():
            yield "it says nothing"
        for text in (self.out, self.err):
            if found := SHOWN.search(text):
                yield f"{found[0]!r} in {text[max(0, found.start() - 60) : found.end() + 20]!r}"
        if not of_dev and OUTSIDE in self.out + self.err:
            yield f"it shows what is outside: {self.out}{self.err}"
        for deed in self.deeds:
            kind, path, caller = deed["kind"], deed["path"], deed["caller"]
            inside = path == root or path.startswith(f"{root}/")
            if kind == "start" and (inside or "/" not in path or deed["cwd"].startswith(root)):
                yield f"it starts {deed}"
            elif kind in {"open", "list"} and inside and caller != "files.py" and not deed.get("changes"):
                yield f"not by the one helper: {deed}"
            if not of_dev and (path == outside or path.startswith((f"{outside}/", "/dev/zero"))):
                yield f"it looks outside: {deed}"
            own = (str(place.folder / "state"), "/dev/null", *(("/sys/fs/cgroup/",) if "cgroup" in caller else ()))
            if deed.get("changes") and not path.startswith(own) and not (inside and "--yes" in self.words):
                yield f"it changes something: {deed}"


def run(asked: list[tuple[Place, tuple[str, ...]]]) -> list[Look]:
    """Run commands, each in its place's project."""
    made = []
    for number, (place, words) in enumerate(asked):
        cases = place.folder / "cases"
        before = len(list(cases.iterdir()))
        files = {name: str(cases / f"{before}-{number}.{name}") for name in ("notes", "out", "err", "code")}
        Path(files["code"]).touch()
        told = [word.replace("{root}", str(place.root)) for word in words]
        made.append({"cwd": str(place.root), "words": told, "env": place.env(), **files})
    plan = Path(f"{made[0]['code']}.json")
    plan.write_text(json.dumps(made))
    done = subprocess.run(
        [sys.executable, str(WATCHED), str(plan), str(ROOT)],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=HANG_S,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    return [Look(each) for each in made]


def judge(places: list[Place], looks: Sequence[tuple[str, ...]], *, writes: bool = False) -> list[str]:
    """Return everything wrong that the commands did in each place."""
    before = [place.snapshot(project=not writes) for place in places]
    asked = [(place, words) for place in places for words in looks]
    found = [
        f"{place.folder.name}: {' '.join(words)}: {fault}"
        for (place, words), look in zip(asked, run(asked), strict=True)
        for fault in look.faults(place)
    ]
    for place, old in zip(places, before, strict=True):
        if changed := sorted(set(old.items()) ^ set(place.snapshot(project=not writes).items())):
            found.append(f"{place.folder.name}: changed: {changed[:6]}")
        if (ran := place.marks / "ran").exists():
            found.append(f"{place.folder.name}: ran: {ran.read_text()}")
    return found


ALL = [words for each in LOOKS.values() for words in each]


def test_every_command_that_the_parser_knows_is_tried_or_named() -> None:
    (commands,) = (it for it in make_parser()._actions if isinstance(it, argparse._SubParsersAction))
    assert set(commands.choices) == {*LOOKS, *NO_LOOKS}


@pytest.mark.parametrize("yes", [False, True])
def test_an_honest_project_is_looked_at_and_understood(places: Callable[[str], Place], yes: bool) -> None:
    """Otherwise the other tests would prove nothing, as a project that is refused at once is not examined."""
    place = places("honest")
    looks = [("init", "--yes", *PLUGIN)] if yes else [*ALL, *DEV]
    assert judge([place], looks, writes=yes) == []
    for look, program in zip(
        run([(place, it) for it in (("doctor",), ("init", "--dry-run", *PLUGIN), ("dev", "."))]),
        ("node", "rustc", None),
        strict=True,
    ):
        assert look.code == 0, look.out + look.err
        started = {deed["path"] for deed in look.deeds if deed["kind"] == "start"}
        assert started == ({str(place.user / program)} if program else set())


Shape = Callable[[Place, str], None]


def _link_out(place: Place, path: str) -> None:
    place.put(path).symlink_to(place.outside / path)


def _link_of_a_link_out(place: Place, path: str) -> None:
    (place.root / "way").symlink_to("..")
    at = place.put(path)
    at.symlink_to(os.path.relpath(place.root / "way" / "outside" / path, at.parent))


def _loop(place: Place, path: str) -> None:
    at = place.put(path)
    at.symlink_to(at.name)


def _zero(place: Place, path: str) -> None:
    place.put(path).symlink_to("/dev/zero")


def _pipe(place: Place, path: str) -> None:
    os.mkfifo(place.put(path))


def _huge(place: Place, path: str) -> None:
    with place.put(path).open("wb") as file:
        file.truncate(1 << 30)


def _folder(place: Place, path: str) -> None:
    place.put(path).mkdir()


def _unreadable(place: Place, path: str) -> None:
    at = place.root / path
    if not at.exists():
        at = place.put(path)
        at.write_text("{}")
    at.chmod(0)


def _no_utf8(place: Place, path: str) -> None:
    place.put(path).write_bytes(b'{"name": "\xff\xfe\x80", \xed\xa0\x80 "scripts": {"dev": "\xc3"}}\n')


def _deep(place: Place, path: str) -> None:
    place.put(path).write_text("a = " + "[" * 10_000 if _is_toml(path) else '{"scripts":' * 80_000)


def _is_toml(path: str) -> bool:
    return path.endswith((".toml", ".lock"))


def _long_number(place: Place, path: str) -> None:
    number = "9" * 10_000
    place.put(path).write_text(f"a = {number}" if _is_toml(path) else f'{{"version": {number}, "port": {number}}}')


def _marked(place: Place, path: str) -> None:
    place.put(path).write_text(json.dumps({"name": MARKS, MARKS: MARKS, "scripts": {"dev": MARKS}}) + MARKS)


def _empty(place: Place, path: str) -> None:
    place.put(path).write_text("")


TEXTS = (_no_utf8, _deep, _long_number, _marked, _empty)
SHAPES: dict[str, Shape] = {
    shape.__name__.strip("_"): shape
    for shape in (_link_out, _link_of_a_link_out, _loop, _zero, _pipe, _huge, _folder, _unreadable, *TEXTS)
}
FOLDERS = {
    *("packages", "node_modules", "node_modules/vite", "src-tauri", "src-tauri/capabilities", "src-tauri/gen/android"),
    *("src-tauri/binaries", ".git"),
}


@pytest.fixture
def places(tmp_path: Path) -> Iterator[Callable[[str], Place]]:
    made: list[Place] = []

    def make_place(name: str) -> Place:
        (tmp_path / name).mkdir()
        made.append(Place(tmp_path / name))
        made[-1].project(**{"packages/app/package.json": '{"scripts": {"dev": "vite"}}'})
        return made[-1]

    yield make_place
    for each in made:
        for path in (each.root, *each.root.rglob("*")):
            if not path.is_symlink() and not os.access(path, os.W_OK):
                path.chmod(0o700)  # so that it can be removed


@pytest.mark.parametrize("shape", SHAPES)
def test_no_shape_of_a_file_leads_a_look_astray(places: Callable[[str], Place], shape: str) -> None:
    """Only one file at a time has the shape, so that its refusal does not hide faults of other files."""
    made = []
    part = slice(None) if "SIDECAR_ALL_SHAPES" in os.environ else slice(list(SHAPES).index(shape) % PARTS, None, PARTS)
    for path in PATHS[part]:
        if SHAPES[shape] in TEXTS and path in FOLDERS:
            continue  # this file's text does not matter
        made.append(places(f"at {path.replace('/', '|')}"))
        SHAPES[shape](made[-1], path)
    faults = judge([it for it in made if not it.folder.name.startswith("at src-tauri|")], [("doctor",)])
    faults += judge(made, [("init", "--yes", *PLUGIN)], writes=True)
    assert not faults, "\n".join(faults)


def test_every_command_looks_at_all_shapes_at_once_and_runs_nothing(places: Callable[[str], Place]) -> None:
    """An app in a folder beside FIFOs, links and a million names, which no other test combines."""
    place = places("all")
    for number, shape in enumerate(SHAPES.values()):
        (place.root / "way").unlink(missing_ok=True)
        for path in ("bad.ts", "packages/{}/package.json", "src-tauri/capabilities/{}.json"):
            shape(place, path.format(number) if "{}" in path else f"{number}-{path}")
            (place.root / "way").unlink(missing_ok=True)
    assert not (found := judge([place], [*ALL, *DEV])), "\n".join(found)


def test_a_folder_with_many_entries_is_not_searched_to_its_end(places: Callable[[str], Place]) -> None:
    place = places("huge")
    for path in ("", "packages", "src-tauri/capabilities", "src-tauri/src"):
        for number in range(3_000):
            (place.root / path / f"{number}-{'x' * 200}.json").touch()
    for number in range(300):
        app = place.root / "packages" / f"app{number}"
        app.mkdir()
        (app / "package.json").write_text('{"name": "app", "scripts": {"dev": "vite"}}')
    place.put("package.json").write_text(json.dumps({"workspaces": ["packages/*", "**", "*/*/*/*"] * 500}))
    place.put("vite.config.js").unlink(missing_ok=True)
    assert not (found := judge([place], [("doctor",), ("init", "--dry-run", *PLUGIN), ("dev", ".")])), "\n".join(found)


SLOW = {
    "package.json": json.dumps(
        {
            "scripts": {
                **{f"s{number}": " & ".join(f"npm run s{it}" for it in range(60)) for number in range(60)},
                "dev": " & ".join(f"npm run s{it}" for it in range(60)),
            }
        }
    ),
    "vite.config.js": "(/[" * 300_000,
    "src-tauri/src/main.rs": 'r#"' * 300_000,
    "dev.mjs": "import { spawn } from 'node:child_process'\n" + "(/[" * 20_000,
}
"""Texts that take the square of their length, or the power of their depth, if one is not careful."""


@pytest.mark.parametrize("path", [*SLOW, "comment", "places"])
def test_no_text_of_a_project_is_read_for_ever(places: Callable[[str], Place], path: str) -> None:
    place = places("slow")
    text = {"comment": "/* " * 300_000, "places": "x={server:{" * 90_000}.get(path) or SLOW[path]
    place.put(path if path in SLOW else "vite.config.js").write_text(text)
    if path == "dev.mjs":
        place.put("package.json").write_text('{"scripts": {"dev": "node dev.mjs"}}')
    looks = [("doctor",), ("dev", "."), *([("init", "--dry-run", *PLUGIN)] if path != "package.json" else [])]
    assert not (found := judge([place], looks)), "\n".join(found)


SCRIPTS = (
    *("vite \\", "vite --port 99999999", f"vite --port {'9' * 5_000}", f"PORT={'9' * 5_000} next", "vite '", 'vite "'),
    *("vite --config /dev/zero", "vite --config ../outside/vite.config.js", "vite ../outside", "node /dev/zero"),
    *("node ../outside/dev.mjs", "node .", "npm run dev", "npm --prefix ../outside run dev", "cd ../outside && vite"),
    *(
        "npm -w ../outside run dev",
        "vite \u202e",
        "\x9b2J",
        "a\x00b",
        "vite --config a\x00b",
        "node a\x00b",
        "cd a\x00b && vite",
    ),
    *(
        "",
        " ",
        "&&",
        "$(node)",
        "`node`",
        "vite\nvite",
        f"vite {'x' * 5_000}",
        "npx vite",
        "node --run dev",
        "pnpm -F x dev",
    ),
)


@pytest.mark.parametrize("where", ["script", "command", "cwd"])
def test_no_script_of_a_project_runs_or_breaks_a_look(places: Callable[[str], Place], where: str) -> None:
    made = []
    for number, script in enumerate(SCRIPTS):
        place = places(f"{number}")
        made.append(place)
        if where == "script":
            place.put("package.json").write_text(json.dumps({"name": script, "scripts": {"dev": script}}))
            continue
        command = script if where == "command" else {"script": "vite", "cwd": script}
        config = json.loads(FILES["src-tauri/tauri.conf.json"])
        config["build"]["beforeDevCommand"] = command
        place.put("src-tauri/tauri.conf.json").write_text(json.dumps(config))
    looks = [("doctor",), ("dev", ".")] if where == "script" else [("init", "--dry-run", *PLUGIN)]
    assert not (found := judge(made, looks)), "\n".join(found)


def test_names_with_marks_get_at_no_terminal(places: Callable[[str], Place]) -> None:
    made = []
    for number, name in enumerate((MARKS.replace("/", ""), "b\udcff\udcfe", "\u202egpj.exe", "\x1b[2Jx")):
        place = places(f"{number}")
        place.root = place.root.rename(place.root.with_name(name))
        for path in ("src-tauri/capabilities", "packages", "."):
            (place.root / path / f"{name}.json").write_text("[")
        services = {name: {"type": "vite", "root": ".."}, "b": {"type": "command", "command": [name]}}
        config = json.loads(FILES["src-tauri/tauri.conf.json"])
        text = json.dumps({**config, name: name, "plugins": {"sidecar": {"services": services, "page": name}}})
        (place.root / "src-tauri/tauri.conf.json").write_text(text)
        made.append(place)
    looks = [("doctor",), ("doctor", "--json"), ("doctor", "{root}"), ("init", "--dry-run", *PLUGIN), ("dev", ".")]
    assert not (found := judge(made, looks)), "\n".join(found)


def test_what_a_service_prints_cannot_turn_the_text_of_the_terminal(tmp_path: Path) -> None:
    """``sidecar dev`` in a pipe."""
    script = tmp_path / "says.py"
    script.write_text(f"print({MARKS.rstrip()!r} + ' end')\n")
    done = subprocess.run(
        [*SIDECAR, "dev", str(tmp_path), "--", sys.executable, str(script)],
        cwd=ROOT,
        env={**os.environ, "SIDECAR_STATE_DIR": str(tmp_path / "state"), "PYTHONUTF8": "1"},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        timeout=HANG_S,
        check=False,
    )
    assert " end" in done.stdout.decode()
    assert r"\u202e" in done.stdout.decode()
    assert not SHOWN.search(done.stdout.decode())
