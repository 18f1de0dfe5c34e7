"""What a project is made of, as far as ``sidecar init`` has to know."""

from __future__ import annotations

import os
import shlex
from collections.abc import Iterator, Mapping
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from msgspec import Struct, field

from sidecar.errors import ConfigurationError
from sidecar.init import devcommand, rust
from sidecar.init.devcommand import Package, Quiet, Start
from sidecar.services import project as services
from sidecar.services.frameworks import BY_TYPE
from sidecar.tauri import project
from sidecar.tauri.section import read_services

WINDOW = "main"
"""Tauri's own name for a window that has none, and the plugin's for the one that it moves."""

_LOOPBACK = {"localhost", "127.0.0.1", "::1"}
_PLATFORMS = ("linux", "macos", "windows")
"""Phones have a dev command of their own anyway (``phones``)."""
_FRONTS = ("*/", "*/*/")
"""Where there is no package.json beside the app, Tauri's CLI looks so far below for one."""
_NO_FRONTS = {"node_modules", "target", "dist", "build", "gen", ".git"}
_LAYERS_DEEP = 2
"""So far below the named folder a project is looked for, to be named in the message."""


class NotUnderstoodError(ConfigurationError):
    """The project is not of a shape that can be edited safely."""

    def __init__(self, reasons: list[str], steps: list[str] | None = None) -> None:
        """All the ``reasons``, and the ``steps`` to do by hand."""
        super().__init__("; ".join(reasons))
        self.reasons = reasons
        self.steps = steps or []


class Capability(Struct):
    """The capability that the window has."""

    file: Path
    place: tuple[str | int, ...]
    """Where it is in the file, which may hold several."""
    permissions: list[Any]


class Found(Struct):
    """A project that was looked at."""

    root: Path
    folder: Path
    """The one with the Tauri configuration."""
    front: Path
    """The one with package.json."""
    home: Path
    """The project's own folder, without links. Nothing outside of it is read for an edit, or written."""
    config_file: Path
    config: dict[str, Any]
    """Of that file alone: edits are made there."""
    package: dict[str, Any]
    has_package: bool
    """Whether there is a package.json, in a folder where Tauri's CLI finds the app."""
    cargo: dict[str, Any]
    source: Path
    """The Rust file that builds the app."""
    manager: str
    cli: str
    dev_url: str | None
    service: dict[str, Any]
    """How the dev server is to be started, for ``plugins.sidecar.services``."""
    title: str
    """The dev server's name, as people write it."""
    start: Start | None
    """What ``beforeDevCommand`` did, where the service takes its place."""
    dev_command: Any
    """With ``start``: what it is to be instead; ``None``: there is none any more."""
    has_section: bool
    window: int
    """The window's index in ``app.windows``."""
    capability: Capability | None
    locked_tauri: tuple[int, ...] | None
    notes: list[str] = field(default_factory=list)
    reasons: list[str] = field(default_factory=list)
    """Why it must not be edited."""


def look(root: Path, mode: rust.Mode) -> Found:
    """Look at the project in ``root``.

    Raises ``NotUnderstoodError`` if there is no project at all, or ``TauriConfigError``; the other reasons not to edit
    it are in the answer, with all that was found beside them.
    """
    folder = project.find(root)
    file = project.main_file(folder) if folder else None
    if folder is None or file is None:
        raise NotUnderstoodError(
            [f"there is no Tauri project in {root}: no {project.MAIN_FILES[0]} is there, nor in {project.FOLDER}"],
            [_where(root)],
        )
    front, home = _front(root, folder)
    if not is_inside(folder, home):
        real = os.path.realpath(folder)
        raise NotUnderstoodError(
            [f"{folder} is a link to {real}, which is no part of this project"],
            [f"If that is the app, name it: sidecar init {shlex.quote(real)}"],
        )
    config = project.parse_file(file)
    manifest = folder / "Cargo.toml"
    cargo = project.parse_file(manifest) if manifest.is_file() else {}
    if _is_tauri_1(config, cargo):
        raise NotUnderstoodError(
            ["this is an app of Tauri 1, and the plugin is for Tauri 2"],
            ["Migrate it first: npx @tauri-apps/cli@2 migrate"],
        )
    reasons = [*_cargo_reasons(folder, cargo), *_platform_reasons(folder, mode)]
    package = project.parse_file(front / "package.json") if (front / "package.json").is_file() else {}
    found = Found(
        root=root,
        folder=folder,
        front=front,
        home=home,
        config_file=file,
        config=config,
        package=package,
        has_package=bool(package) and folder.absolute().is_relative_to(front),
        cargo=cargo,
        source=_source(folder),
        manager="npm",
        cli="tauri" if _has_cli(package) and folder.absolute().is_relative_to(front) else "cargo tauri",
        dev_url=section(config, "build").get("devUrl"),
        service={},
        title="the dev server",
        start=None,
        dev_command=None,
        has_section=section(config, "plugins").get("sidecar") is not None,
        window=_window(config),
        capability=_find_capability(folder, config),
        locked_tauri=_locked_tauri(folder),
    )
    reasons += _take_dev_command(found)
    if found.has_section:
        read_services(project.read(folder))  # what is there has to be right, as the app will read it
    if mode == "setup" and found.window < 0:
        reasons.append(f'{file} has no window "{WINDOW}" that the plugin could create')
    found.reasons += reasons
    return found


def _front(root: Path, folder: Path) -> tuple[Path, Path]:
    """The front end's folder, in which Tauri's CLI runs ``beforeDevCommand``; and the project's, without links."""
    inner = folder.absolute()
    front = next((each for each in (inner.parent, inner) if (each / "package.json").is_file()), None)
    if front is not None:
        return front, Path(os.path.realpath(front))
    top = inner if folder == root and inner.name != project.FOLDER else inner.parent
    found = [file.parent for deep in _FRONTS for file in top.glob(f"{deep}package.json")]
    fronts = [each for each in found if not _NO_FRONTS & set(each.relative_to(top).parts)]
    return fronts[0] if len(fronts) == 1 else inner.parent, Path(os.path.realpath(top))


def is_inside(path: Path, home: Path) -> bool:
    """Whether a path, and all links in it, stay in the folder, which is given without links."""
    return Path(os.path.realpath(path)).is_relative_to(home)


def section(config: Mapping[str, Any], name: str) -> dict[str, Any]:
    """A member that is to have members of its own; without any if it is not there, or something else."""
    found = config.get(name)
    return found if isinstance(found, dict) else {}


def _is_tauri_1(config: dict[str, Any], cargo: dict[str, Any]) -> bool:
    wanted = section(cargo, "dependencies").get("tauri", "")
    version = wanted.get("version", "") if isinstance(wanted, dict) else wanted
    return "tauri" in config or str(version).lstrip("^~=v ").split(".")[0] == "1"


def _cargo_reasons(folder: Path, cargo: dict[str, Any]) -> Iterator[str]:
    if not cargo:
        yield f"there is no Cargo.toml in {folder}"
    elif "tauri" not in section(cargo, "dependencies"):
        yield f"{folder / 'Cargo.toml'} does not have tauri in [dependencies]"


def _platform_reasons(folder: Path, mode: rust.Mode) -> Iterator[str]:
    """A file for one platform that says otherwise wins over what we would write, there and nowhere else."""
    touched = [("build", "beforeDevCommand"), ("bundle", "externalBin"), ("plugins", "sidecar")]
    touched += [("app", "windows")] if mode == "setup" else []
    for name in _PLATFORMS:
        for file in (f"tauri.{name}.conf.json", f"tauri.{name}.conf.json5", f"Tauri.{name}.toml"):
            if (folder / file).is_file():
                config = project.parse_file(folder / file)
                for part, key in touched:
                    if key in section(config, part):
                        yield f"{folder / file} has {part}.{key} of its own, which replaces the one of all platforms"


def _source(folder: Path) -> Path:
    """The file that calls ``generate_context!``; where none does, the usual one, for the message."""
    files = [folder / "src" / name for name in ("lib.rs", "main.rs")]
    there = [file for file in files if file.is_file()]
    building = [file for file in there if "generate_context!" in project.read_text(file)]
    return (building or there or files)[0]


def _has_cli(package: dict[str, Any]) -> bool:
    kinds = (section(package, kind) for kind in ("dependencies", "devDependencies", "optionalDependencies"))
    return any("@tauri-apps/cli" in names for names in kinds) or "tauri" in section(package, "scripts")


def _window(config: dict[str, Any]) -> int:
    windows = section(config, "app").get("windows")
    for at, window in enumerate(windows if isinstance(windows, list) else ()):
        if isinstance(window, dict) and window.get("label", WINDOW) == WINDOW:
            return at
    return -1


def _locked_tauri(folder: Path) -> tuple[int, ...] | None:
    """The version in Cargo.lock, which a workspace has further up; ``None`` if it is not to be found."""
    for place in (folder, *folder.absolute().parents):
        lock = place / "Cargo.lock"
        if lock.is_file():
            try:
                packages = project.parse_file(lock).get("package", [])
            except project.TauriConfigError:
                return None  # a large workspace's, or one that cargo will name: it is only for a note
            versions = [each.get("version", "") for each in packages if each.get("name") == "tauri"]
            numbers = versions[0].split("+")[0].split("-")[0].split(".") if versions else []
            return tuple(int(each) for each in numbers if each.isdecimal()) or None
        if (place / ".git").exists():
            break
    return None


# ── the dev server ────────────────────────────────────────────────────────────────────────────────────────────────────


def _take_dev_command(found: Found) -> list[str]:
    """Fill in how the dev server is started; what stands in the way."""
    given = section(found.config, "build").get("beforeDevCommand")
    options = given if isinstance(given, dict) else {}
    command = options.get("script") if options else given
    found.manager = services.find_manager(
        str(found.front), found.package, command if isinstance(command, str) else None
    )
    row = services.recognise(str(found.front), found.package)
    found.title = row.title if row else found.title
    start = Start(type=row.type if row else "vite")
    reasons: list[str] = []
    package = _package(found, options.get("cwd"))
    if not package.folder.is_dir():
        reasons.append(f"beforeDevCommand has the cwd {options['cwd']}, and there is no folder {package.folder}")
    if command is not None and not isinstance(command, str):
        reasons.append(f"beforeDevCommand is neither a text nor an object with a script: {command!r}")
    elif command is not None and command.strip():
        meaning = devcommand.understand(command, package)
        if isinstance(meaning, Start):
            start = found.start = meaning
            found.dev_command, reason = _instead(found, command, options, start)
            reasons += [reason] if reason else []
        elif isinstance(meaning, Quiet) or options.get("wait") is True:
            why = "starts no server" if isinstance(meaning, Quiet) else "has ended when the app starts"
            found.notes.append(f"beforeDevCommand stays: {command!r} {why}.")
        elif found.has_section:  # a person has set it up, and a fresh clone only wants the binary
            found.notes.append(f"beforeDevCommand stays: {meaning.reason}. If it starts a dev server, take it out.")
        else:
            reasons.append(f"beforeDevCommand ({command}): {meaning.reason}; there might be two dev servers")
    if row is None and found.start is None and not found.has_section:
        reasons.append(_no_server(found, command))
        start = Start(type="command")
    scheme, port = _address(found.dev_url)
    if scheme == "https":
        found.notes.append(
            "devUrl is https: the page will be at https://127.0.0.1, so the certificate has to name that."
        )
    if start.elsewhere:
        reasons.append("Vite is started with a root and a configuration file of its own")
    if start.host:
        listens = f"{found.title} will listen on 127.0.0.1 only (services.web.port.host)."
        found.notes.append(f"--host is not taken over: {listens}")
    base = start.folder or package.folder
    root = Path(os.path.relpath(base / start.root, found.folder)).as_posix()
    found.service = _service(start, root, port or start.port)
    folder = str(base / start.root)
    if start.script:
        told = services.heed(folder, BY_TYPE[start.type], start.script)
        reasons += [told.reason] if isinstance(told, services.NotUnderstood) else []
    elif found.start is not None and not _says_enough(start) and not _is_the_same(services.look(folder).start, start):
        found.service["args"] = []
    return reasons


def _address(url: object) -> tuple[str, int | None]:
    """The scheme of ``devUrl``, and its port on this machine."""
    try:
        parts = urlsplit(url if isinstance(url, str) else "")
        return parts.scheme, parts.port if parts.hostname in _LOOPBACK else None
    except ValueError:
        return "", None  # Tauri will say what is wrong with it


def _no_server(found: Found, command: object) -> str:
    """Why no dev server is found."""
    if not command and found.dev_url is None:
        return f"the app has no dev server: {found.config_file.name} has neither a beforeDevCommand nor a devUrl"
    where = (
        "no vite in its package.json, and no vite.config" if found.package else "no package.json, and no vite.config"
    )
    return f"{found.front} is no Vite project, nor one of another framework that is known: {where}"


def _says_enough(start: Start) -> bool:
    """Whether the service says something itself, so that no script is heeded."""
    return bool(start.mode or start.config or start.args)


def _is_the_same(told: services.Start | None, start: Start) -> bool:
    """Whether a service that says nothing is started as ``beforeDevCommand`` did it, and by no other script."""
    if told is None or told.framework.type != start.type or told.env not in ({}, start.env):
        return False
    return not (told.root != "." or told.mode or told.config or told.args or told.steps)


def _package(found: Found, cwd: object) -> Package:
    """Where ``beforeDevCommand`` runs: its ``cwd``, from the folder of tauri.conf.json; else the front end's folder."""
    base = Path(os.path.normpath(found.folder.absolute() / cwd)) if isinstance(cwd, str) else found.front
    home = Path(os.path.commonpath([found.front, found.folder.absolute()]))
    top = next((place for place in (home, *home.parents) if (place / ".git").exists()), home)
    top = top if base.is_relative_to(top) else base
    return devcommand.package_at(base, top)


def _instead(found: Found, command: str, options: dict[str, Any], start: Start) -> tuple[Any, str]:
    """What ``beforeDevCommand`` becomes where the service takes the dev server out of it; or why that cannot be."""
    if start.steps and not start.script:
        kept = [step for step in start.steps if not devcommand.only_ends(step, section(found.package, "scripts"))]
        found.notes += [
            f"{step!r} is left out: it ends what an earlier run has left, and the sidecar leaves nothing."
            for step in start.steps
            if step not in kept
        ]
        inline = all(step in command for step in kept)  # it ran in the same shell before
        steps = kept if inline else [_anywhere(step, found) for step in kept]
        if not steps:
            return None, ""
        return {**options, "script": " && ".join(steps), "wait": True}, ""
    if not start.beside:
        return None, ""
    beside = [_anywhere(line, found) for line in start.beside]
    if len(beside) > 1:
        return None, f"beforeDevCommand ({command}) runs more than one program beside the dev server"
    found.notes.append(f"beforeDevCommand stays for what ran beside the dev server: {beside[0]!r}.")
    return ({**options, "script": beside[0]} if options else beside[0]), ""


_EXEC = {"npm": "npx", "pnpm": "pnpm exec", "yarn": "yarn", "bun": "bunx", "deno": "deno run npm:"}
_ANYWHERE = {
    *services.RUN,
    "npx",
    "bunx",
    "pnpx",
    "node",
    "cargo",
    "rustc",
    "rustfmt",
    "git",
    "echo",
    "mkdir",
    "cp",
    "rm",
}
"""What is on PATH outside of a script of package.json, too."""


def _anywhere(line: str, found: Found) -> str:
    """The same where package.json's programs are not on PATH, as they are in its scripts."""
    return line if line.split(" ", 1)[0] in _ANYWHERE else f"{_EXEC[found.manager]} {line}"


def _service(start: Start, root: str, port: int | None) -> dict[str, Any]:
    service: dict[str, Any] = {"type": start.type, "root": root}
    if start.script and start.script != "dev":
        service["script"] = start.script
    if port:
        service["port"] = {"preferred": port}
    if start.mode:
        service["mode"] = start.mode
    if start.config:
        service["configFile"] = start.config
    if start.args:
        service["args"] = start.args
    env = {**start.env, **dict.fromkeys(start.port_env, "{port}")}
    if env:
        service["env"] = env
    return service


def _where(root: Path) -> str:
    """What a person does who named another folder than the app's."""
    for pattern in ("*/" * deep + project.FOLDER for deep in range(1, _LAYERS_DEEP + 1)):
        for folder in sorted(root.glob(pattern)):
            if project.main_file(folder) is not None and "node_modules" not in folder.parts:
                place = f'"{folder.parent}"' if " " in str(folder.parent) else folder.parent
                return f"There is one in {folder.parent}: sidecar init {place}"
    return "Run it in the folder of the app, or name that: sidecar init PATH"


# ── capabilities ──────────────────────────────────────────────────────────────────────────────────────────────────────


def _find_capability(folder: Path, config: dict[str, Any]) -> Capability | None:
    """The one that lets the window's own pages do what they do: ``default`` if it is among them, else the first."""
    enabled = section(section(config, "app"), "security").get("capabilities")
    names = {name for name in enabled if isinstance(name, str)} if isinstance(enabled, list) and enabled else None
    found = [
        (each.get("identifier") != "default", Capability(file, place, each["permissions"]))
        for file, place, each in _capabilities(folder)
        if isinstance(each.get("permissions"), list)
        and each.get("local", True) is True
        and any(isinstance(name, str) and fnmatchcase(WINDOW, name) for name in each.get("windows", ()))
        and (names is None or each.get("identifier") in names)
    ]
    return min(found, key=lambda each: each[0])[1] if found else None


def _capabilities(folder: Path) -> Iterator[tuple[Path, tuple[str | int, ...], dict[str, Any]]]:
    for file in sorted((folder / "capabilities").glob("**/*")):
        if file.suffix not in {".json", ".json5", ".toml"} or not file.is_file():
            continue
        content = project.parse_value(file, project.read_text(file))
        listed = content if isinstance(content, list) else content.get("capabilities")
        if not isinstance(listed, list):
            yield file, (), content
            continue
        way: tuple[str | int, ...] = () if isinstance(content, list) else ("capabilities",)
        yield from ((file, (*way, at), each) for at, each in enumerate(listed) if isinstance(each, dict))
