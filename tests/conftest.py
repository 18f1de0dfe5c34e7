"""Settings for all tests. Hypothesis uses the same examples on every run, so a failure can be repeated."""

from __future__ import annotations

import os
import signal
import sys
from contextlib import ExitStack, suppress

import pytest
from hypothesis import settings

if sys.platform == "linux":
    from sidecar.host.linux import cgroup
    from tests.support.liveness import control_group

LONG = "SIDECAR_FUZZ_EXAMPLES"
"""A variable with the number of examples for each property. With it each run uses new ones: tests/fuzz/__main__.py."""

settings.register_profile("everywhere", derandomize=True, deadline=None, database=None)
settings.register_profile(
    "long", deadline=None, database=None, max_examples=int(os.environ.get(LONG, "100")), print_blob=True
)
settings.load_profile("long" if LONG in os.environ else "everywhere")

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    # a shell makes programs in the background ignore Ctrl-C; our children would inherit that
    signal.signal(signal.SIGINT, signal.default_int_handler)
if sys.platform != "win32" and signal.getsignal(signal.SIGHUP) is signal.SIG_IGN:
    signal.signal(signal.SIGHUP, signal.SIG_DFL)  # nohup does the same with SIGHUP


if sys.platform == "linux":

    def pytest_configure(config: pytest.Config) -> None:
        """Move into a control group of our own.

        A sidecar sweeps what dead ones have left beside its own group. Without ours, that would be what other
        processes' tests have just killed and are about to look at.
        """
        home = cgroup.own_folder()
        if home is None or "SIDECAR_WINE" in os.environ:
            return  # Wine's server would stay in our group, for other tests; and Windows programs make no groups
        stack = ExitStack()
        config.add_cleanup(stack.close)
        group = stack.enter_context(control_group(divisible=True))
        if group is not None:
            with suppress(OSError):  # EACCES: we may make a group, but not move into it
                cgroup.enter(group)
                stack.callback(cgroup.enter, home)
