"""Children that the process had before it became a sidecar: a helper of a script that ends with ``exec sidecar``."""

from __future__ import annotations

import os
import shlex
import signal
import sys
from pathlib import Path

import pytest

if sys.platform != "linux":
    pytest.skip("pidfds, control groups and /proc", allow_module_level=True)

from tests.children.trees import SIZES
from tests.faults.cell import service, tree
from tests.faults.direct import Direct
from tests.host.bsd import skip_without_forks
from tests.support.command import BINARY, SIDECAR
from tests.support.liveness import RollCall, await_end, control_group, send


def leaving(helper: list[str], roll: RollCall) -> tuple[str, ...]:
    """Return a command prefix: a shell that starts the helper in the background, then execs the rest."""
    script = shlex.join(["env", *(f"{name}={value}" for name, value in roll.env.items()), *helper])
    return ("sh", "-c", f'{script} & exec "$@"', "sh")


@pytest.mark.parametrize("divisible", [True, False], ids=["in a control group", "in none"])
@pytest.mark.parametrize("end", ["the app ends", "it is asked to end", "the supervisor is killed"])
def test_the_helper_of_a_script_that_becomes_the_sidecar_is_left_alone(
    tmp_path: Path, end: str, divisible: bool
) -> None:
    with control_group(divisible=divisible) as group:
        check(tmp_path, end, SIDECAR, group)


@pytest.mark.skipif(BINARY is not None, reason="a frozen sidecar has no emulated kernel")
@pytest.mark.parametrize("end", ["the app ends", "it is asked to end", "the supervisor is killed"])
def test_macOSs_guard_leaves_the_helper_alone(tmp_path: Path, end: str) -> None:
    skip_without_forks()
    with control_group(divisible=False) as group:
        check(tmp_path, end, [sys.executable, "-m", "tests.faults.darwin"], group)


def check(folder: Path, end: str, sidecar: list[str], group: str | None) -> None:
    with (
        RollCall() as others,
        Direct(folder, prefix=leaving(tree("plain"), others), group=group, sidecar=sidecar) as it,
    ):
        others.await_living("plain", SIZES["plain"])
        hello = it.client.hello({"daemon": service("daemon")})
        it.client.start_all({"daemon": None})
        it.roll.await_living("daemon", SIZES["daemon"])
        match end:
            case "the app ends":
                it.let_go(it.stdin)
            case "it is asked to end":
                it.client.send("shutdown")
            case _:
                supervisor = os.pidfd_open(hello["pid"])
                send(supervisor, signal.SIGKILL)
                await_end(supervisor)
                os.close(supervisor)
        it.exit_code()
        others.prove_alive("plain")
