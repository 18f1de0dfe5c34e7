"""Every edit that puts the plugin into a project, computed before anything is written; or why there are none."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn

from msgspec import Struct, field

from sidecar.init import binary, crate, jsontext, leftover, phones, rust, tomltext
from sidecar.init.byhand import by_hand
from sidecar.init.found import Found, NotUnderstoodError, look, section
from sidecar.init.jsontext import Place
from sidecar.services.project import RUN
from sidecar.tauri import project

EXTERNAL_BIN = "binaries/sidecar"
PERMISSION = "sidecar:default"
SCRIPT = "tauri:dev"
OLDEST_TAURI = (2, 11, 1)


class Edit(Struct):
    """A file as it was found (``None``: there is none), and as it is to be."""

    path: Path
    before: bytes | None
    after: bytes
    executable: bool = False


class Plan(Struct):
    """What ``sidecar init`` would do."""

    folder: Path
    """The Tauri project's."""
    edits: list[Edit]
    start: str
    """What a person types to start the app."""
    notes: list[str] = field(default_factory=list)
    """What should be known beside the edits."""


def make_plan(root: Path, mode: rust.Mode, plugin: str | None) -> Plan:
    """Look at the project in ``root``, and change nothing.

    Raises ``NotUnderstoodError`` with all reasons and the steps to do by hand, or ``TauriConfigError`` for a file that
    cannot be read.
    """
    found = look(root, mode)
    planner = _Planner(found, mode, crate.requirement(plugin, found.folder))
    reasons = list(found.reasons)
    for step in planner.steps() if not reasons else ():
        try:
            step()
        except NotUnderstoodError as error:
            reasons += error.reasons
    if reasons:
        raise NotUnderstoodError(reasons, by_hand(found, mode, planner.requirement))
    return planner.plan()


class _Planner:
    """Collects edits. Each step looks first whether its work is done already, so that a second run has none."""

    def __init__(self, found: Found, mode: rust.Mode, requirement: str | dict[str, Any]) -> None:
        self._found = found
        self._mode = mode
        self.requirement = requirement
        self._notes = list(found.notes)
        self._texts: dict[Path, tuple[str | None, str]] = {}
        self._binary: Edit | None = None
        self._commands: list[str] = []

    def steps(self) -> tuple[Callable[[], None], ...]:
        """In this order: a later one needs what an earlier one found."""
        own = (self._cargo, self._source, self._build, self._config, self._leftovers)
        return (*own, self._capability, self._script, self._phones, self._ignore, self._program)

    def plan(self) -> Plan:
        edits = [
            Edit(path, None if before is None else before.encode(), after.encode())
            for path, (before, after) in self._texts.items()
            if before != after
        ]
        for edit in edits:
            if edit.path.suffix in {".json", ".json5", ".toml"}:
                project.parse_value(edit.path, edit.after.decode())  # what we wrote is what others can read
        if self._binary is not None:
            edits.append(self._binary)
        start = f"{RUN[self._found.manager]} {SCRIPT}" if self._found.has_package else self._dev_words()
        return Plan(self._found.folder, edits, start, self._notes)

    # ── steps ────────────────────────────────────────────────────────────────────────────────────────────────────────

    def _cargo(self) -> None:
        manifest = self._found.folder / "Cargo.toml"
        dependencies = section(self._found.cargo, "dependencies")
        if crate.CRATE not in dependencies:
            self._set(manifest, ("dependencies", crate.CRATE), self.requirement)
        if "serde_json" not in dependencies:
            self._set(manifest, ("dependencies", "serde_json"), "1")  # generate_context! writes plugins.sidecar as JSON
        locked = self._found.locked_tauri
        if locked is not None and locked < OLDEST_TAURI:
            version, oldest = (".".join(map(str, each)) for each in (locked, OLDEST_TAURI))
            self._notes.append(f"Cargo.lock has tauri {version}; the plugin needs {oldest}: run cargo update -p tauri.")

    def _source(self) -> None:
        source = self._found.source
        text = self._text(source)
        try:
            there = rust.mode_of(text)
            if there not in {None, self._mode}:
                self._refuse(f"{self._name(source)} starts the plugin in {there} mode already")
            self._put(source, rust.add_plugin(text, self._mode))
            self._commands = rust.commands(text) if self._mode == "setup" else []
        except rust.RustShapeError as error:
            raise NotUnderstoodError([f"{self._name(source)}: {error}"]) from None

    def _build(self) -> None:
        """In setup mode the page is foreign: Tauri has to know the app's commands, or none could be allowed to it."""
        if not self._commands:
            return
        script = self._found.folder / "build.rs"
        try:
            self._put(script, rust.declare_commands(self._text(script), self._commands))
        except rust.RustShapeError as error:
            raise NotUnderstoodError([f"{self._name(script)}: {error}"]) from None

    def _config(self) -> None:
        found, config = self._found, self._found.config
        file = found.config_file
        if found.start is not None and found.dev_command is None:
            self._remove(file, ("build", "beforeDevCommand"))
        elif found.start is not None:
            self._set(file, ("build", "beforeDevCommand"), found.dev_command)
        if EXTERNAL_BIN not in (section(config, "bundle").get("externalBin") or []):
            self._append(file, ("bundle", "externalBin"), EXTERNAL_BIN)
        if not found.has_section:
            self._set(file, ("plugins", "sidecar", "services", "web"), found.service)
            if self._mode == "setup":
                self._set(file, ("plugins", "sidecar", "permissions"), self._page_permissions())
        if self._mode == "setup":
            self._set(file, ("app", "windows", found.window, "create"), value=False)

    def _leftovers(self) -> None:
        """What only a person can edit, where a script of the project started the dev server."""
        found = self._found
        if found.start is not None:
            self._notes += leftover.notes(found.start, found.front, found.folder, found.root)

    def _page_permissions(self) -> list[str]:
        """What the page may do as a foreign origin: what it may do as the app's own."""
        capability = self._found.capability
        own = [each for each in capability.permissions if isinstance(each, str)] if capability else ["core:default"]
        if capability and len(own) < len(capability.permissions):
            self._notes.append(
                f"{self._name(capability.file)} has permissions with scopes, which plugins.sidecar.permissions cannot "
                "carry: in setup mode the page is without them."
            )
        return list(dict.fromkeys((*own, PERMISSION, *self._allowed())))

    def _capability(self) -> None:
        capability = self._found.capability
        if capability is None:
            self._notes.append(
                f'The window has no capability file: where the page is to use the plugin, allow it "{PERMISSION}".'
            )
            return
        has_it = {PERMISSION} if "sidecar:control" in capability.permissions else set()
        for name in (PERMISSION, *self._allowed()):
            if name not in has_it and name not in capability.permissions:
                self._append(capability.file, (*capability.place, "permissions"), name)

    def _allowed(self) -> list[str]:
        return [f"allow-{name.replace('_', '-')}" for name in self._commands]

    def _script(self) -> None:
        found = self._found
        if not found.has_package:
            return  # a front end in Rust has no npm scripts
        there = section(found.package, "scripts").get(SCRIPT)
        if there is None:
            self._set(found.front / "package.json", ("scripts", SCRIPT), self._dev_words())
        elif "--no-dev-server" not in str(there):
            self._notes.append(
                f'The script "{SCRIPT}" is there and stays: {there!r}. Without --no-dev-server-wait it waits for a '
                "server that nobody starts."
            )

    def _dev_words(self) -> str:
        wait = "--no-dev-server-wait" if self._found.dev_url else "--no-dev-server"
        return f"{self._found.cli} dev {wait}"

    def _phones(self) -> None:
        """Each phone gets a dev server of its own, and neither the binary nor the plugin's section."""
        found = self._found
        there = list(phones.find(found.folder))
        command = phones.command(found.dev_url) if found.dev_url else None
        if not there:
            self._notes.append("For phones, run sidecar init again after tauri android init or tauri ios init.")
        elif command is None:
            self._notes.append("Phones need a devUrl with a port: without it their dev server is not set up.")
        for phone in there if command is not None else ():
            if phone.file.suffix == ".toml":
                self._notes.append(
                    f"{self._name(phone.file)}: TOML cannot take plugins.sidecar away; make it JSON first."
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
        wanted = ["/binaries/", *(["/permissions/autogenerated/"] if self._commands else [])]
        has = {line.strip().strip("/") for line in before.splitlines()}
        missing = [line for line in wanted if line.strip("/") not in has]
        if missing:
            eol = "\r\n" if "\r\n" in before else "\n"
            gap = ("" if before.endswith("\n") else eol) + eol if before else ""
            lines = ["# Made by each developer: sidecar init puts the sidecar's binary there", *missing]
            self._put(file, f"{before}{gap}{eol.join(lines)}{eol}")

    def _program(self) -> None:
        place, own = binary.place_in(self._found.folder), binary.own_binary()
        there = place.read_bytes() if place.is_file() else None
        if own is not None:
            ours = own.read_bytes()
            if there != ours:
                self._binary = Edit(place, there, ours, executable=True)
            return
        if there is None:
            self._binary = Edit(place, None, b"", executable=True)
        if not there:
            source = binary.checkout()
            where = f"in {source}: " if source else "in a checkout of tauri-sidecar: "
            self._notes.append(
                f"{self._name(place)} is an empty placeholder: the app builds with it, and says so in its window. The "
                f"real one is made by freezing, {where}python3 build/dev.py freeze --out {place.parent.absolute()}"
            )

    # ── texts ────────────────────────────────────────────────────────────────────────────────────────────────────────

    def _name(self, path: Path) -> str:
        return os.path.relpath(path, self._found.root)

    def _text(self, path: Path, *, missing: str | None = None) -> str:
        if path not in self._texts:
            if missing is not None and not path.exists():
                self._texts[path] = (None, missing)
                return missing
            before = project.read_text(path)
            self._texts[path] = (before, before)
        return self._texts[path][1]

    def _put(self, path: Path, after: str) -> None:
        self._texts[path] = (self._texts[path][0], after)

    def _refuse(self, reason: str) -> NoReturn:
        raise NotUnderstoodError([reason])

    def _set(self, path: Path, place: Place, value: Any) -> None:
        inline = path.name == "Cargo.toml"  # where everybody writes a dependency on one line
        self._change(
            path,
            lambda text: tomltext.set_member(text, place, value, inline=inline),
            lambda text: jsontext.set_member(text, place, value),
        )

    def _append(self, path: Path, place: Place, value: str) -> None:
        self._change(
            path,
            lambda text: tomltext.append_item(text, place, value),
            lambda text: jsontext.append_item(text, place, value),
        )

    def _remove(self, path: Path, place: Place) -> None:
        self._change(
            path, lambda text: tomltext.remove_member(text, place), lambda text: jsontext.remove_member(text, place)
        )

    def _change(self, path: Path, toml: Callable[[str], str], json: Callable[[str], str]) -> None:
        try:
            self._put(path, (toml if path.suffix == ".toml" else json)(self._text(path)))
        except KeyError as error:
            self._refuse(f"{self._name(path)}: {error.args[0]} is something else than it should be")
        except tomltext.TomlShapeError as error:
            self._refuse(f"{self._name(path)}: {error}")
