"""Run the command: make the report, draw it, and decide the exit code."""

from __future__ import annotations

import os
from typing import Any

import msgspec

from sidecar.commands.doctor.checks import check
from sidecar.commands.doctor.finding import Finding
from sidecar.commands.doctor.prove.choice import find_platform
from sidecar.commands.doctor.prove.outcome import Trial, Untried
from sidecar.commands.doctor.prove.trials import name_untried
from sidecar.commands.doctor.prove.trials import prove as kill_for_real
from sidecar.config.services import ViteService
from sidecar.diagnostics import docs
from sidecar.exit_codes import EXIT_CLEAN, EXIT_FAILED
from sidecar.host.fds import is_terminal
from sidecar.host.survey import Layer, Survey
from sidecar.protocol.rpc import json_line
from sidecar.runtime.streams import write_all
from sidecar.services import launch
from sidecar.services.looking import looking_at
from sidecar.terminal.ansi import printable_json
from sidecar.terminal.messages import BAD, DIM, GOOD, NAME, WARN
from sidecar.terminal.table import Cell, Report

_STYLES = {"ok": GOOD, "note": WARN, "bad": BAD}


def run(survey: Survey, root: str, *, port: int | None, prove: bool, as_json: bool) -> int:
    """Report, kill for real if ``prove``, and return the exit code. Raises ``UnsupportedPlatformError``."""
    platform = find_platform() if prove else None
    findings = check(survey, root, port)
    layers = survey.find_layers()
    out = Report()
    heard = True
    if not as_json:
        _draw(findings, layers, out)
        if any(it.verdict == "bad" for it in findings):
            out.line()
            out.line((docs("troubleshooting"), DIM))
        heard = out.show()
    active = [it.name for it in layers if it.holds]
    trials = [] if platform is None else kill_for_real(platform, active, _find_node(findings, root), _progress)
    untried = [] if platform is None else name_untried(platform, active, trials)
    good = not any(it.verdict == "bad" for it in findings) and all(it.held for it in trials)
    if as_json:
        report: dict[str, Any] = {"ok": good, "findings": findings, "layers": layers}
        if platform is not None:
            report["proof"] = [{**msgspec.to_builtins(it), "held": it.held} for it in trials]
        report["untried"] = untried
        heard = write_all(1, printable_json(json_line(report).decode()).encode())
    elif platform is not None:
        _draw_proof(platform.BLOW, trials, untried, out)
        heard = out.show("\n")
    return EXIT_CLEAN if good and heard else EXIT_FAILED


def _find_node(findings: list[Finding], root: str) -> str | None:
    """Return the node that the report names, if it works."""
    if any(it.subject == "node" and it.verdict == "bad" for it in findings):
        return None
    with looking_at(root):
        return launch.find_node("node", ViteService(root=root)).program


def _progress(text: str) -> None:
    if is_terminal(2):
        os.write(2, f"{text} ...\n".encode())


def _draw(findings: list[Finding], layers: list[Layer], out: Report) -> None:
    out.heading("What is here")
    out.table(
        ("", "what", "found"),
        ([(it.verdict, _STYLES[it.verdict]), (it.subject, NAME), _two_lines(it.found, it.advice)] for it in findings),
    )
    out.heading("Layers of the kill")
    out.table(
        ("", "layer", "what it means"),
        (
            [("holds", GOOD) if it.holds else ("absent", WARN), (it.name, NAME), _two_lines(it.means, it.advice)]
            for it in layers
        ),
    )


def _two_lines(found: str, advice: str) -> Cell:
    return (f"{found}\n{advice}" if advice else found, "")


def _draw_proof(blow: str, trials: list[Trial], untried: list[Untried], out: Report) -> None:
    out.heading(f"Killed for real ({blow})")
    out.table(
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
            out.line((f"{what} {it.sweep_milliseconds:.1f} ms", DIM))
        for text, style in (
            *((f"{it.killed}: {who} survived", BAD) for who in it.survivors),
            *((f"{it.killed}: {what} was left", BAD) for what in it.traces),
            *((f"{it.killed}: {who} survived (expected without control groups)", DIM) for who in it.excused),
        ):
            out.line((text, style))
        if it.problem:
            out.line((f"{it.killed}: not tried: {it.problem}", BAD))
    for layer in untried:
        out.line((f"{layer.name}: not tried here: {layer.why}", DIM))
