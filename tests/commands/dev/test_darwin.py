"""``sidecar dev`` at a terminal with macOS's guard, host and job control, on Linux.

The terminal is Linux's. sidecar/terminal/tty.py names the known differences of macOS's.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

import pytest

assert sys.platform == "linux"  # for mypy; conftest.py leaves these tests out elsewhere

from tests.commands.dev.test_opener import (  # noqa: F401  collected here again, with the fixture below
    browser,
    test_o_opens_the_page_in_a_browser_that_outlives_us,
    test_open_opens_the_page_once,
)
from tests.commands.dev.test_terminal import (  # noqa: F401
    test_a_terminal_that_goes_away_without_a_signal_ends_it_too,
    test_a_terminal_that_takes_nothing_more_blocks_no_end,
    test_ctrl_backslash_is_at_once_and_leaves_nobody,
    test_ctrl_c_ends_it_cleanly_with_130,
    test_ctrl_z_gives_the_terminal_to_the_shell_and_fg_takes_it_again,
    test_ctrl_z_where_no_shell_could_continue_it_does_not_stop_it,
    test_in_the_background_it_leaves_the_terminal_to_the_shell,
    test_it_spins_until_ready_then_says_the_url_and_keeps_a_status_line,
    test_q_ends_all_of_it_with_exit_code_0,
    test_r_restarts_on_the_same_port,
    test_terminal_modes_are_restored_when_the_guard_is_killed,
    test_when_the_guard_is_killed_the_supervisor_ends_it,
    test_when_the_supervisor_is_killed_the_guard_gives_the_terminal_back,
    test_when_the_terminal_goes_away_all_of_it_ends,
)
from tests.faults.darwin import COMMAND
from tests.host.bsd import skip_without_forks
from tests.support.command import BINARY

if BINARY:
    pytest.skip("a frozen sidecar has no emulated kernel", allow_module_level=True)


@pytest.fixture
def sidecar() -> Sequence[str]:
    """The command under test."""
    skip_without_forks()
    return COMMAND
