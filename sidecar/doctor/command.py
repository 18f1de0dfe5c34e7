"""The command: makes the report, draws it, and decides the exit code."""

from __future__ import annotations

import os
from typing import Any

import msgspec

from sidecar import launch
from sidecar.config import ViteService
from sidecar.console.sheet import Cell, Sheet
from sidecar.console.words import BAD, DIM, GOOD, NAME, WARN
from sidecar.doctor.checks import Finding, check
from sidecar.doctor.platform import find_ground
from sidecar.doctor.prove import name_untried
from sidecar.doctor.prove import prove as kill_for_real
from sidecar.doctor.trial import Trial, Untried
from sidecar.host.fds import is_terminal
from sidecar.host.survey import Layer, Survey
from sidecar.pumps import write_all
from sidecar.wire.session import json_line

EXIT_BAD = 1

_STYLES = {"ok": GOOD, "note": WARN, "bad": BAD}


def run(survey: Survey, root: str, *, port: int | None, prove: bool, as_json: bool) -> int:
    """Report, and kill for real if ``prove``; the exit code. Raises ``UnsupportedPlatformError``."""
    ground = find_ground() if prove else None
    findings = check(survey, root, port)
    layers = survey.find_layers()
    sheet = Sheet()
    heard = True
    if not as_json:
        _draw(findings, layers, sheet)
        heard = sheet.show()
    active = [it.name for it in layers if it.holds]
    trials = [] if ground is None else kill_for_real(ground, active, _find_node(findings, root), _progress)
    untried = [] if ground is None else name_untried(ground, active, trials)
    good = not any(it.verdict == "bad" for it in findings) and all(it.held for it in trials)
    if as_json:
        report: dict[str, Any] = {"ok": good, "findings": findings, "layers": layers}
        if ground is not None:
            report["proof"] = [{**msgspec.to_builtins(it), "held": it.held} for it in trials]
        report["untried"] = untried
        heard = write_all(1, json_line(report))
    elif ground is not None:
        _draw_proof(ground.BLOW, trials, untried, sheet)
        heard = sheet.show("\n")
    return 0 if good and heard else EXIT_BAD


def _find_node(findings: list[Finding], root: str) -> str | None:
    """The one of the report, if it works."""
    if any(it.subject == "node" and it.verdict == "bad" for it in findings):
        return None
    return launch.find_node("node", ViteService(root=root)).program


def _progress(text: str) -> None:
    if is_terminal(2):
        os.write(2, f"{text} ...\n".encode())


def _draw(findings: list[Finding], layers: list[Layer], sheet: Sheet) -> None:
    sheet.heading("What is here")
    sheet.table(
        ("", "what", "found"),
        ([(it.verdict, _STYLES[it.verdict]), (it.subject, NAME), _two_lines(it.found, it.advice)] for it in findings),
    )
    sheet.heading("Layers of the kill")
    sheet.table(
        ("", "layer", "what it means"),
        (
            [("holds", GOOD) if it.holds else ("absent", WARN), (it.name, NAME), _two_lines(it.means, it.advice)]
            for it in layers
        ),
    )


def _two_lines(found: str, advice: str) -> Cell:
    return (f"{found}\n{advice}" if advice else found, "")


def _draw_proof(blow: str, trials: list[Trial], untried: list[Untried], sheet: Sheet) -> None:
    sheet.heading(f"Killed for real ({blow})")
    sheet.table(
        ("killed", "processes", "survivors", "ms", "claimed by", ""),
        (
            [
                (it.killed, NAME),
                str(it.processes),
                (str(len(it.survivors)), BAD if it.survivors else ""),
                f"{it.milliseconds:.1f}",
                ", ".join(it.claims) or "-",
                ("held", GOOD) if it.held else ("BROKEN", BAD),
            ]
            for it in trials
        ),
    )
    for it in trials:
        if it.sweep_milliseconds is not None:
            what = f"{it.killed}: {it.until_next_start} lived on until the next start, which ended them in"
            sheet.line((f"{what} {it.sweep_milliseconds:.1f} ms", DIM))
        for text, style in (
            *((f"{it.killed}: {who} survived", BAD) for who in it.survivors),
            *((f"{it.killed}: {what} was left", BAD) for what in it.traces),
            *((f"{it.killed}: {who} lived on, as is said of it where no control group is", DIM) for who in it.excused),
        ):
            sheet.line((text, style))
        if it.problem:
            sheet.line((f"{it.killed}: not tried: {it.problem}", BAD))
    for layer in untried:
        sheet.line((f"{layer.name}: not tried here: {layer.why}", DIM))
