"""``sidecar init``: show the changes, ask, and make all of them or none."""

from __future__ import annotations

import difflib
import os
from pathlib import Path

from sidecar.commands.init.found import NotUnderstoodError
from sidecar.commands.init.manual_steps import numbered
from sidecar.commands.init.plan import Edit, Plan, make_plan
from sidecar.commands.init.write import write
from sidecar.diagnostics import docs, say_error
from sidecar.errors import ConfigurationError
from sidecar.exit_codes import EXIT_CLEAN, EXIT_FAILED, EXIT_USAGE
from sidecar.host.fds import is_terminal
from sidecar.services.looking import looking_at
from sidecar.terminal.messages import BAD, DIM, GOOD, LINK, NAME, WARN, size
from sidecar.terminal.prompt import agreed
from sidecar.terminal.table import Report

_STYLES = {"+": GOOD, "-": BAD, "@": LINK}


def run(root: str, *, plugin: str | None, dry_run: bool, yes: bool) -> int:
    """Plan, show, ask and write; return the exit code."""
    if not (dry_run or yes or is_terminal(0)):
        say_error(
            "init can ask only at a terminal: add --dry-run to see the changes, or --yes to make them",
            "options",
            "sidecar init",
        )
        return EXIT_USAGE
    out = Report()
    try:
        with looking_at(root):
            plan = make_plan(Path(root), plugin)
        _show(plan, Path(root), out)
        if not plan.edits or dry_run:
            return EXIT_CLEAN
        if not yes and not agreed("Change these files?"):
            return EXIT_CLEAN
        write(plan.edits, plan.home)
    except NotUnderstoodError as error:
        _refuse(error, out)
        return EXIT_FAILED
    except ConfigurationError as error:
        say_error(error.message, "errors", error.kind)
        return EXIT_FAILED
    if plan.has_binary:
        out.line((f"Done. Start the app with: {plan.start}", GOOD))
    else:
        out.line((f"Done, but the binary is missing (see the note). Then start the app with: {plan.start}", WARN))
    out.show()
    return EXIT_CLEAN


def _show(plan: Plan, root: Path, out: Report) -> None:
    if not plan.edits and plan.has_binary:
        out.line(f"Nothing to do: {plan.folder} has the sidecar. Start the app with: {plan.start}")
    elif not plan.edits:
        out.line((f"Nothing to change: {plan.folder} has the sidecar, except its binary (see the note).", WARN))
    for edit in plan.edits:
        for line in _diff(edit, os.path.relpath(edit.path, root)):
            style = NAME if line.startswith(("---", "+++")) else _STYLES.get(line[:1], "")
            out.line((line, style))
    for note in plan.notes:
        out.line((f"Note: {note}", WARN))
    out.show()


def _diff(edit: Edit, name: str) -> list[str]:
    old = "/dev/null" if edit.before is None else name
    if edit.executable:
        what = f"a copy of the sidecar, {size(len(edit.after))}" if edit.after else "an empty placeholder"
        return [f"--- {old}", f"+++ {name}", f"+({what})"]
    texts = ((edit.before or b"").decode(), edit.after.decode())
    before, after = (text.removeprefix("\ufeff").splitlines() for text in texts)
    return list(difflib.unified_diff(before, after, old, name, lineterm=""))


def _refuse(error: NotUnderstoodError, out: Report) -> None:
    out.line(("Nothing was changed, because init cannot edit this project safely:", BAD))
    for reason in error.reasons:
        out.line(f"  - {reason}")
    if error.steps:
        out.heading("To do by hand")
        for line in numbered(error.steps):
            out.line((line, DIM if line.startswith("       ") else ""))
    out.line((docs("tauri-app"), DIM))
    out.show()
