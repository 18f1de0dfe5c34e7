"""Compute every edit that puts the plugin into a project, or the reasons against it. This writes nothing."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn

from msgspec import Struct, field

from sidecar import __version__
from sidecar.commands.init import binary, crate, obsolete, phones
from sidecar.commands.init.detect import look
from sidecar.commands.init.edit import json5, rust
from sidecar.commands.init.edit import toml as tomltext
from sidecar.commands.init.edit.json5 import Place
from sidecar.commands.init.found import Found, NotUnderstoodError, section
from sidecar.commands.init.manual_steps import by_hand
from sidecar.files import is_file, is_there, read_regular, way_out
from sidecar.services.package_json import RUN
from sidecar.tauri import project

PERMISSION = "sidecar:default"
SCRIPT = "tauri:dev"
PACKAGE = "tauri-sidecar"
"""The package's name on npm and on PyPI."""
OLDEST_TAURI = (2, 11, 1)

BINARY_BYTES_MOST = 64 << 20
"""Bound on the file in the binary's place. We keep it in memory, to restore it. The sidecar has 5 MB."""


class Edit(Struct):
    """A file's content before (``None`` if it does not exist) and after the edit."""

    path: Path
    before: bytes | None
    after: bytes
    executable: bool = False


class Plan(Struct):
    """What ``sidecar init`` would do."""

    folder: Path
    """The folder with the Tauri configuration."""
    home: Path
    """The project's own folder, without links. No edit leads out of it."""
    edits: list[Edit]
    start: str
    """The command that starts the app, for a person to type."""
    notes: list[str] = field(default_factory=list)
    """What a person should know besides the edits."""
    has_binary: bool = True
    """Whether the app then has the real binary, not an empty placeholder."""


def make_plan(root: Path, plugin: str | None) -> Plan:
    """Plan the edits of the project in ``root``, and change nothing.

    Raises ``NotUnderstoodError`` with all reasons and the steps to do by hand, or ``TauriConfigError`` if a file cannot
    be read.
    """
    found = look(root)
    planner = _Planner(found, crate.requirement(plugin, found.folder))
    reasons = list(found.reasons)
    for step in planner.steps() if not reasons else ():
        try:
            step()
        except NotUnderstoodError as error:
            reasons += error.reasons
    if reasons:
        raise NotUnderstoodError(reasons, by_hand(found, planner.requirement))
    return planner.plan()


class _Planner:
    """Collects edits. Each step first checks whether its work is already done, so a second run has no edits."""

    def __init__(self, found: Found, requirement: str | dict[str, Any]) -> None:
        self._found = found
        self.requirement = requirement
        self._notes = list(found.notes)
        self._texts: dict[Path, tuple[str | None, str]] = {}
        self._binary: Edit | None = None
        self._has_binary = True
        self._has_helper = False

    def steps(self) -> tuple[Callable[[], None], ...]:
        """Return the steps in their order. A later step needs the results of earlier ones."""
        own = (self._cargo, self._source, self._helper, self._package, self._config, self._obsolete)
        return (*own, self._capability, self._script, self._phones, self._ignore, self._program)

    def plan(self) -> Plan:
        edits = [
            Edit(path, None if before is None else before.encode(), after.encode())
            for path, (before, after) in self._texts.items()
            if before != after
        ]
        for edit in edits:
            if edit.path.suffix in {".json", ".json5", ".toml"}:
                project.parse_value(edit.path, edit.after.decode())  # raises if we have written an invalid file
        if self._binary is not None:
            edits.append(self._binary)
        start = f"{RUN[self._found.manager]} {SCRIPT}" if self._found.has_package else self._dev_words()
        return Plan(self._found.folder, self._found.home, edits, start, self._notes, self._has_binary)

    # ── steps ────────────────────────────────────────────────────────────────────────────────────────────────────────

    def _cargo(self) -> None:
        manifest = self._found.folder / "Cargo.toml"
        dependencies = section(self._found.cargo, "dependencies")
        there = dependencies.get(crate.CRATE)
        dead = crate.dead_path(there, self._found.folder)
        if there is None:
            self._set(manifest, ("dependencies", crate.CRATE), self.requirement)
            if self.requirement == __version__:
                self._notes.append(
                    f"Cargo takes {crate.CRATE} {__version__} from crates.io. Use --plugin for another source: "
                    "a folder or a git URL."
                )
        elif dead is not None:
            self._repair(manifest, dead)
        if "serde_json" not in dependencies:
            self._set(manifest, ("dependencies", "serde_json"), "1")  # generate_context! writes plugins.sidecar as JSON
        locked = self._found.locked_tauri
        if locked is not None and locked < OLDEST_TAURI:
            version, oldest = (".".join(map(str, each)) for each in (locked, OLDEST_TAURI))
            self._notes.append(f"Cargo.lock has tauri {version}; the plugin needs {oldest}: run cargo update -p tauri.")

    def _repair(self, manifest: Path, dead: str) -> None:
        """Replace the source of the crate, and keep the rest of the dependency, such as its features."""
        place = ("dependencies", crate.CRATE)
        wanted = self.requirement if isinstance(self.requirement, dict) else {"version": self.requirement}
        for key, value in wanted.items():
            self._set(manifest, (*place, key), value)
        if "path" not in wanted:
            self._remove(manifest, (*place, "path"))
        self._notes.append(f"{self._name(manifest)} named the crate {crate.CRATE} at {dead}, where there is none.")

    def _source(self) -> None:
        source = self._found.source
        text = self._text(source)
        try:
            self._put(source, rust.add_plugin(text))
        except rust.RustShapeError as error:
            raise NotUnderstoodError([f"{self._name(source)}: {error}"]) from None

    def _helper(self) -> None:
        """Make each build put the binary in place, so that a clone needs no ``sidecar init``."""
        wanted = crate.helper(self._wanted_plugin())
        if wanted is None:
            return
        script = self._found.folder / "build.rs"
        try:
            self._put(script, rust.place_binary(self._text(script)))
        except rust.RustShapeError as error:
            self._notes.append(
                f"{self._name(script)} is left as it is, because {error}. Without {rust.PLACE_BINARY} as its first "
                "line, a clone of this project needs sidecar init again."
            )
            return
        self._has_helper = True
        if crate.HELPER not in section(self._found.cargo, "build-dependencies"):
            self._set(self._found.folder / "Cargo.toml", ("build-dependencies", crate.HELPER), wanted)

    def _wanted_plugin(self) -> object:
        """Return the plugin's dependency after the edits: the existing one, unless its path has no crate."""
        there = section(self._found.cargo, "dependencies").get(crate.CRATE)
        return self.requirement if there is None or crate.dead_path(there, self._found.folder) is not None else there

    def _package(self) -> None:
        """Make the project's package manager install the binary in a clone, where the build helper finds it."""
        found = self._found
        if not crate.is_published(self._wanted_plugin()):
            return
        python = found.front / "pyproject.toml"
        if found.package:
            self._npm_package()
        elif is_file(python):
            self._python_package(python)
        else:
            self._notes.append(f"In a clone of this project, get the binary with: uvx {PACKAGE} init")

    def _npm_package(self) -> None:
        found = self._found
        if any(PACKAGE in section(found.package, kind) for kind in ("dependencies", "devDependencies")):
            return
        manifest = found.front / "package.json"
        self._set(manifest, ("devDependencies", PACKAGE), f"^{__version__}")
        self._notes.append(f"Run {found.manager} install: {self._name(manifest)} has {PACKAGE} now.")

    def _python_package(self, manifest: Path) -> None:
        """Add the package to the group that uv installs by default."""
        if PACKAGE in self._text(manifest):
            return
        self._append(manifest, ("dependency-groups", "dev"), f"{PACKAGE}~={__version__}")
        self._notes.append(f"Run uv sync: {self._name(manifest)} has {PACKAGE} now, in the group dev.")

    def _config(self) -> None:
        found, config = self._found, self._found.config
        file = found.config_file
        if found.start is not None and found.dev_command is None:
            self._remove(file, ("build", "beforeDevCommand"))
        elif found.start is not None:
            self._set(file, ("build", "beforeDevCommand"), found.dev_command)
        ships = bool(found.released) or not self._has_helper  # the helper also works for a build that ships no sidecar
        if ships and found.external_bin not in (section(config, "bundle").get("externalBin") or []):
            self._append(file, ("bundle", "externalBin"), found.external_bin)
        macos = section(section(config, "bundle"), "macOS")
        if ships and self._has_helper and crate.MAC_PLACE not in section(macos, "files"):
            self._set(file, ("bundle", "macOS", "files", crate.MAC_PLACE), crate.MAC_FOLDER)
        if not found.has_section:
            self._set(file, ("plugins", "sidecar", "services", "web"), found.service)
        if not ships:
            self._notes.append(
                "A release of this app starts no service, so it ships no sidecar. Run sidecar init again once it does."
            )

    def _obsolete(self) -> None:
        """Note what only a person can edit, if a script of the project started the dev server."""
        found = self._found
        if found.start is not None:
            self._notes += obsolete.notes(found.start, found.front, found.folder, found.root)

    def _capability(self) -> None:
        capability = self._found.capability
        if capability is None:
            self._notes.append(
                f'The window has no capability file. If the page should use the plugin, allow it "{PERMISSION}".'
            )
            return
        if not {PERMISSION, "sidecar:control"} & {each for each in capability.permissions if isinstance(each, str)}:
            self._append(capability.file, (*capability.place, "permissions"), PERMISSION)

    def _script(self) -> None:
        found = self._found
        if not found.has_package:
            return  # a front end in Rust has no npm scripts
        there = section(found.package, "scripts").get(SCRIPT)
        if there is None:
            self._set(found.front / "package.json", ("scripts", SCRIPT), self._dev_words())
        elif "--no-dev-server" not in str(there):
            self._notes.append(
                f'The script "{SCRIPT}" exists and stays: {there!r}. Without --no-dev-server-wait it waits for a '
                "server that nothing starts."
            )

    def _dev_words(self) -> str:
        wait = "--no-dev-server-wait" if self._found.dev_url else "--no-dev-server"
        return f"{self._found.cli} dev {wait}"

    def _phones(self) -> None:
        """Give each phone its own dev server, and remove the binary and the plugin's section there."""
        found = self._found
        there = list(phones.find(found.folder))
        command = phones.command(found.dev_url, found.external_bin) if found.dev_url else None
        if not there:
            self._notes.append("For phones, run sidecar init again after tauri android init or tauri ios init.")
        elif command is None:
            self._notes.append("Phones need a devUrl with a port: without it their dev server is not set up.")
        for phone in there if command is not None else ():
            if phone.file.suffix == ".toml":
                self._notes.append(
                    f"{self._name(phone.file)}: TOML has no null, which removes plugins.sidecar. Make it JSON first."
                )
                continue
            if phones.has_command(phone):
                told = project.parse_file(phone.file)["build"]["beforeDevCommand"]
                if told != command:
                    self._notes.append(f"{self._name(phone.file)} has a beforeDevCommand of its own, which stays.")
            else:
                self._text(phone.file, missing="{}\n")
                self._set(phone.file, ("build", "beforeDevCommand"), command)
            self._set(phone.file, ("bundle", "externalBin"), [])
            self._set(phone.file, ("plugins", "sidecar"), None)

    def _ignore(self) -> None:
        file = self._found.folder / ".gitignore"
        before = self._text(file, missing="")
        if "binaries" not in {line.strip().strip("/") for line in before.splitlines()}:
            eol = "\r\n" if "\r\n" in before else "\n"
            gap = ("" if before.endswith("\n") else eol) + eol if before else ""
            lines = ["# Made by each developer: sidecar init puts the sidecar's binary there", "/binaries/"]
            self._put(file, f"{before}{gap}{eol.join(lines)}{eol}")

    def _program(self) -> None:
        place, own = binary.place_in(self._found.folder, self._found.external_bin), binary.own_binary()
        self._check_inside(place)
        there = self._binary_there(place)
        if own is not None:
            ours = own.read_bytes()
            if there != ours:
                self._binary = Edit(place, there, ours, executable=True)
            return
        if there is None:
            self._binary = Edit(place, None, b"", executable=True)
        if binary.is_for_another_machine():
            self._notes.append(
                f"This sidecar was made for {binary.own_tuple()}, but Tauri needs one for {binary.host_tuple()} here. "
                "So it is not copied."
            )
        if not there:
            self._has_binary = False
            source = binary.checkout()
            freeze = f"python3 build/dev.py freeze --out {place.parent.absolute()}"
            real = (
                f"To make the real one, run this in {source}: {freeze}"
                if source
                else f"The real one is in the package tauri-sidecar-bin {__version__}, which is not installed beside "
                f"this sidecar. Install it and run sidecar init again, or run in a checkout of tauri-sidecar: {freeze}"
            )
            self._notes.append(
                f"{self._name(place)} is an empty placeholder. The app builds with it, and says so in its window. "
                f"{real}"
            )

    def _binary_there(self, place: Path) -> bytes | None:
        if not is_there(place):
            return None
        try:
            there = read_regular(place, BINARY_BYTES_MOST + 1)
        except OSError as error:  # EACCES, EISDIR, a pipe: something else has the name
            self._refuse(f"{self._name(place)} cannot be read: {error.strerror}")
        if len(there) > BINARY_BYTES_MOST:
            self._refuse(f"{self._name(place)} is larger than {BINARY_BYTES_MOST >> 20} MiB, so it is not the sidecar")
        return there

    # ── texts ────────────────────────────────────────────────────────────────────────────────────────────────────────

    def _name(self, path: Path) -> str:
        return os.path.relpath(path, self._found.root)

    def _text(self, path: Path, *, missing: str | None = None) -> str:
        if path not in self._texts:
            self._check_inside(path)
            if missing is not None and not is_there(path):
                self._texts[path] = (None, missing)
                return missing
            before = project.read_text(path)
            self._texts[path] = (before, before)
        return self._texts[path][1]

    def _check_inside(self, path: Path) -> None:
        if (real := way_out(self._found.home, path)) is not None:
            self._refuse(f"{self._name(path)} leads out of the project, to {real}")

    def _put(self, path: Path, after: str) -> None:
        self._texts[path] = (self._texts[path][0], after)

    def _refuse(self, reason: str) -> NoReturn:
        raise NotUnderstoodError([reason])

    def _set(self, path: Path, place: Place, value: Any) -> None:
        inline = path.name == "Cargo.toml"  # there, a dependency is usually on one line
        self._change(
            path,
            lambda text: tomltext.set_member(text, place, value, inline=inline),
            lambda text: json5.set_member(text, place, value),
        )

    def _append(self, path: Path, place: Place, value: str) -> None:
        self._change(
            path,
            lambda text: tomltext.append_item(text, place, value),
            lambda text: json5.append_item(text, place, value),
        )

    def _remove(self, path: Path, place: Place) -> None:
        self._change(
            path, lambda text: tomltext.remove_member(text, place), lambda text: json5.remove_member(text, place)
        )

    def _change(self, path: Path, toml: Callable[[str], str], json: Callable[[str], str]) -> None:
        try:
            self._put(path, (toml if path.suffix == ".toml" else json)(self._text(path)))
        except KeyError as error:
            self._refuse(f"{self._name(path)}: {error.args[0]} has a value of the wrong type")
        except tomltext.TomlShapeError as error:
            self._refuse(f"{self._name(path)}: {error}")
