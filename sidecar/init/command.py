"""``sidecar init``: shows what it would change, asks, and changes all of it or nothing."""

from __future__ import annotations

import difflib
import os
from pathlib import Path

from sidecar.console.ask import agreed
from sidecar.console.sheet import Sheet
from sidecar.console.words import BAD, DIM, GOOD, LINK, NAME, WARN, size
from sidecar.diagnostics import say
from sidecar.errors import ConfigurationError
from sidecar.host.fds import is_terminal
from sidecar.init import rust
from sidecar.init.byhand import numbered
from sidecar.init.found import NotUnderstoodError
from sidecar.init.plan import Edit, Plan, make_plan
from sidecar.init.write import write

EXIT_REFUSED = 1
EXIT_USAGE = 2

_STYLES = {"+": GOOD, "-": BAD, "@": LINK}


def run(root: str, *, mode: rust.Mode, plugin: str | None, dry_run: bool, yes: bool) -> int:
    """Plan, show, ask and write; the exit code."""
    if not (dry_run or yes or is_terminal(0)):
        say("error", "there is nobody to ask: use --dry-run to look, or --yes to change the project")
        return EXIT_USAGE
    sheet = Sheet()
    try:
        plan = make_plan(Path(root), mode, plugin)
        _show(plan, Path(root), sheet)
        if not plan.edits or dry_run:
            return 0
        if not yes and not agreed("Change these files?"):
            return 0
        write(plan.edits, plan.home)
    except NotUnderstoodError as error:
        _refuse(error, sheet)
        return EXIT_REFUSED
    except ConfigurationError as error:
        say("error", error.message)
        return EXIT_REFUSED
    sheet.line((f"Done. Start the app with: {plan.start}", GOOD))
    sheet.show()
    return 0


def _show(plan: Plan, root: Path, sheet: Sheet) -> None:
    if not plan.edits:
        sheet.line(f"Nothing to do: {plan.folder} has the sidecar. Start the app with: {plan.start}")
    for edit in plan.edits:
        for line in _diff(edit, os.path.relpath(edit.path, root)):
            style = NAME if line.startswith(("---", "+++")) else _STYLES.get(line[:1], "")
            sheet.line((line, style))
    for note in plan.notes:
        sheet.line((f"Note: {note}", WARN))
    sheet.show()


def _diff(edit: Edit, name: str) -> list[str]:
    old = "/dev/null" if edit.before is None else name
    if edit.executable:
        what = f"a copy of this program, {size(len(edit.after))}" if edit.after else "an empty placeholder"
        return [f"--- {old}", f"+++ {name}", f"+({what})"]
    texts = ((edit.before or b"").decode(), edit.after.decode())
    before, after = (text.removeprefix("\ufeff").splitlines() for text in texts)
    return list(difflib.unified_diff(before, after, old, name, lineterm=""))


def _refuse(error: NotUnderstoodError, sheet: Sheet) -> None:
    sheet.line(("This project is left as it is, because it is not surely understood:", BAD))
    for reason in error.reasons:
        sheet.line(f"  - {reason}")
    if error.steps:
        sheet.heading("To do by hand")
        for line in numbered(error.steps):
            sheet.line((line, DIM if line.startswith("       ") else ""))
    sheet.show()
