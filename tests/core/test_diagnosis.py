"""What is reported about a service that is not ready yet."""

from __future__ import annotations

import pytest

from sidecar.config.services import LogReady, Probe, ServerReady
from sidecar.core import diagnosis
from sidecar.core.events import Endpoint, Probed

HERE = Endpoint("127.0.0.1", 5173)
LISTENS = (("127.0.0.1", 5173),)


def answered(detail: str, *, reached: bool) -> Probed:
    return Probed("web", 1, 0, "down", detail, reached=reached)


@pytest.mark.parametrize(
    ("probe", "last", "said"),
    [
        (LogReady(pattern="x"), None, "no line of its output has matched 'x' yet"),
        (ServerReady(), answered("/ is answered with 503", reached=True), "/ is answered with 503"),
        (
            ServerReady(),
            answered("connection refused", reached=False),
            "it takes connections, but has not answered yet",
        ),
        (ServerReady(), None, "it takes connections, but has not answered yet"),
    ],
)
def test_of_a_service_that_listens_its_last_answer_is_told(probe: Probe, last: Probed | None, said: str) -> None:
    assert diagnosis.seen(probe, HERE, last, LISTENS) == said
