"""The options of each command are typed, complete and frozen."""

from __future__ import annotations

from typing import Any

import pytest

from sidecar.cli import OPTIONS, make_parser
from sidecar.commands.options import DevOptions, PsOptions, StdioOptions

WORDS = {"unpack": ["folder"], "completions": ["bash"]}
"""Arguments that a command requires."""


@pytest.mark.parametrize("command", OPTIONS)
def test_the_parser_gives_every_field_of_a_command(command: str) -> None:
    parsed = make_parser().parse_args([command, *WORDS.get(command, [])])
    parsed.program = []
    OPTIONS[command].of(parsed)


def test_each_word_lands_in_its_field() -> None:
    parsed = make_parser().parse_args(["dev", "folder", "--port", "3000", "--strict-port", "--parent-pid", "7"])
    parsed.program = ["node"]
    options = DevOptions.of(parsed)
    assert (options.root, options.port, options.strict_port, options.parent_pid) == ("folder", 3000, True, 7)
    assert options.program == ["node"]


@pytest.mark.parametrize("values", [{}, {"json": True}, {"json": True, "watch": False, "follow": False}])
def test_a_field_too_few_or_too_many_is_refused(values: dict[str, Any]) -> None:
    with pytest.raises(TypeError, match="PsOptions takes json, watch"):
        PsOptions(**values)


def test_a_field_with_a_default_may_be_left_out() -> None:
    assert StdioOptions().parent_pid is None


def test_options_are_frozen() -> None:
    options: Any = StdioOptions(parent_pid=7)
    with pytest.raises(AttributeError, match="frozen"):
        options.parent_pid = 8
    assert options.parent_pid == 7
