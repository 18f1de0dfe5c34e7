"""Find the dev server that ``beforeDevCommand`` starts, and make the service that replaces it."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from sidecar.commands.init.dev_command.meaning import Quiet, Start
from sidecar.commands.init.dev_command.programs import only_ends
from sidecar.commands.init.dev_command.understand import understand
from sidecar.commands.init.dev_command.workspace import Package, package_at
from sidecar.commands.init.found import Found, section
from sidecar.files import is_folder, is_there, leads_out
from sidecar.services import dev_script, package_json
from sidecar.services import project as services
from sidecar.services.frameworks import BY_TYPE

_LOOPBACK = {"localhost", "127.0.0.1", "::1"}


def take_dev_command(found: Found) -> list[str]:
    """Set the fields of ``found`` that describe the dev server; return the reasons against editing."""
    given = section(found.config, "build").get("beforeDevCommand")
    options = given if isinstance(given, dict) else {}
    command = options.get("script") if options else given
    found.manager = package_json.find_manager(
        str(found.front), found.package, command if isinstance(command, str) else None
    )
    row = services.recognise(str(found.front), found.package)
    found.title = row.title if row else found.title
    start = Start(type=row.type if row else "vite")
    reasons: list[str] = []
    package = _package(found, options.get("cwd"))
    if leads_out(package.folder):
        reasons.append(f"beforeDevCommand has the cwd {options['cwd']}, which is outside of the project")
    elif not is_folder(package.folder):
        reasons.append(f"beforeDevCommand has the cwd {options['cwd']}, and there is no folder {package.folder}")
    if command is not None and not isinstance(command, str):
        reasons.append(f"beforeDevCommand is neither a string nor an object with a script: {command!r}")
    elif command is not None and command.strip():
        meaning = understand(command, package)
        if isinstance(meaning, Start):
            start = found.start = meaning
            found.dev_command, reason = _instead(found, command, options, start)
            reasons += [reason] if reason else []
        elif isinstance(meaning, Quiet) or options.get("wait") is True:
            why = "starts no server" if isinstance(meaning, Quiet) else "has ended when the app starts"
            found.notes.append(f"beforeDevCommand stays: {command!r} {why}.")
        elif found.has_section:  # the project is set up already; perhaps only the binary is missing
            found.notes.append(f"beforeDevCommand stays: {meaning.reason}. If it starts a dev server, remove it.")
        else:
            reasons.append(f"beforeDevCommand ({command}): {meaning.reason}; there might be two dev servers")
    if row is None and found.start is None and not found.has_section:
        reasons.append(_no_server(found, command))
        start = Start(type="command")
    scheme, port = _address(found.dev_url)
    if scheme == "https":
        found.notes.append(
            "devUrl is https: the page will be at https://127.0.0.1, so the certificate has to name 127.0.0.1."
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
        reasons += [told.reason] if isinstance(told, dev_script.NotUnderstood) else []
    elif found.start is not None and not _says_enough(start) and not _is_the_same(services.look(folder).start, start):
        found.service["args"] = []
    return reasons


def _address(url: object) -> tuple[str, int | None]:
    """Return the scheme of ``devUrl``, and its port if it is on this machine."""
    try:
        parts = urlsplit(url if isinstance(url, str) else "")
        return parts.scheme, parts.port if parts.hostname in _LOOPBACK else None
    except ValueError:
        return "", None  # Tauri will report the wrong URL


def _no_server(found: Found, command: object) -> str:
    """Say why no dev server was found."""
    if not command and found.dev_url is None:
        return f"the app has no dev server: {found.config_file.name} has neither a beforeDevCommand nor a devUrl"
    where = (
        "no vite in its package.json, and no vite.config" if found.package else "no package.json, and no vite.config"
    )
    return f"{found.front} is not a project of Vite or another known framework: {where}"


def _says_enough(start: Start) -> bool:
    """Tell whether the service has options of its own. If so, a start does not read the dev script."""
    return bool(start.mode or start.config or start.args)


def _is_the_same(told: dev_script.Start | None, start: Start) -> bool:
    """Tell whether a service without options, which follows the dev script, starts as ``beforeDevCommand`` did."""
    if told is None or told.framework.type != start.type or told.env not in ({}, start.env):
        return False
    return not (told.root != "." or told.mode or told.config or told.args or told.steps)


def _package(found: Found, cwd: object) -> Package:
    """Return the package where ``beforeDevCommand`` runs: its ``cwd``, or the front end's folder.

    ``cwd`` is relative to the folder of tauri.conf.json.
    """
    base = Path(os.path.normpath(found.folder.absolute() / cwd)) if isinstance(cwd, str) else found.front
    home = Path(os.path.commonpath([found.front, found.folder.absolute()]))
    top = next((place for place in (home, *home.parents) if is_there(place / ".git")), home)
    top = top if base.is_relative_to(top) else base
    return package_at(base, top)


def _instead(found: Found, command: str, options: dict[str, Any], start: Start) -> tuple[Any, str]:
    """Return ``beforeDevCommand`` without the dev server, which the service starts; or why that is impossible."""
    if start.steps and not start.script:
        kept = [step for step in start.steps if not only_ends(step, section(found.package, "scripts"))]
        found.notes += [
            f"{step!r} is removed: it ends what an earlier run left, and the sidecar leaves nothing."
            for step in start.steps
            if step not in kept
        ]
        inline = all(step in command for step in kept)  # the same shell ran them before
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
    *package_json.RUN,
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
"""Programs that are on PATH also outside of a script of package.json."""


def _anywhere(line: str, found: Found) -> str:
    """Rewrite a line of a script so that it also works where the packages' programs are not on PATH."""
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
