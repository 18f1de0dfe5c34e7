"""Judge a run that ended unasked: its cause, its error, and whether another run may follow."""

from __future__ import annotations

from msgspec import Struct

from sidecar.config.services import ViteService
from sidecar.core import diagnosis
from sidecar.core.condition import Condition
from sidecar.core.events import Exited
from sidecar.core.readiness import how_it_ended, port_is_taken
from sidecar.errors import SidecarError
from sidecar.protocol.messages import Cause


class Judgement(Struct, frozen=True):
    """Why a run ended."""

    cause: Cause = "crashed"
    error: SidecarError | None = None
    """``None`` if the program has done its work."""
    again: bool = True
    """Whether another run could end better."""


def judge(condition: Condition, event: Exited, ports_lost: int) -> Judgement:
    """Find out why a run has ended although the service should run. This changes nothing.

    ``ports_lost`` is the number of runs in a row, before this one, that have lost their port.
    """
    name, lines, endpoint = condition.name, condition.last_lines(), condition.endpoint
    how, code = how_it_ended(event.code, event.signal), event.code
    vite = isinstance(condition.config, ViteService)
    was_ready = condition.state != "starting"
    if was_ready and code == 0:
        return Judgement("completed")
    if condition.run.programs:
        return Judgement(error=diagnosis.step_failed(name, condition.run.step, how, lines), again=False)
    if condition.is_task:
        error, again = diagnosis.task_failed(name, how, lines, code=code)
    elif was_ready:
        error, again = diagnosis.ended_while_ready(name, how, lines, code=code, vite=vite)
    elif endpoint is not None and code != 0 and port_is_taken(lines, endpoint.port):
        return Judgement("portTaken", diagnosis.port_lost(name, endpoint.port, ports_lost + 1, lines))
    else:
        error, again = diagnosis.ended_before_ready(name, how, lines, code=code, vite=vite)
    return Judgement(error=error, again=again)
