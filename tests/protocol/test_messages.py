"""What the messages say of themselves."""

from __future__ import annotations

import pytest

from sidecar.protocol.messages import Holder, taken_by


@pytest.mark.parametrize(
    ("holder", "words"),
    [
        (None, "not free"),
        (Holder(), "taken by another program"),
        (Holder(user="ada"), "taken by another program (user ada)"),
        (Holder(1, "vite", ours=True), "taken by vite (pid 1, started by a sidecar)"),
    ],
)
def test_of_a_port_s_holder_what_is_known_is_told(holder: Holder | None, words: str) -> None:
    assert taken_by(holder) == words
