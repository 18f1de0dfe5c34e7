"""Windows' tests under Debian 13's Wine 10, which runs in a chroot."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path

from build.jobs import debian
from build.jobs.needs import DEBOOTSTRAP, ready
from build.jobs.paths import BUILD, PYTHON
from build.jobs.steps import Steps, pytest_step
from build.jobs.tools import CannotError, become, must, say, user_cache

SYSTEM = "SIDECAR_WINE_SYSTEM"
"""A variable that gives build/wine.py the root folder of the other Debian."""
NAME = "pytest of Windows under Wine 10"
TESTS = tuple(
    f"tests/windows/test_{test}"
    for test in (
        "windows.py::test_the_owner_of_a_socket_is_the_process_that_listens",
        "commands.py::test_a_run_is_shown_with_its_app_its_layers_and_its_services",
        "commands.py::test_doctor_tells_that_a_port_is_taken_and_by_whom",
    )
)
"""Tests that need the owner of a socket, which Debian 13's Wine reports and Debian 12's does not."""


def wine10(arguments: Sequence[str]) -> int:
    """Run tests of Windows under Debian 13's Wine 10, which names the owners of sockets.

    It needs root. If there is no Debian 13 with Wine in the user's cache folder, it makes one: 1.7 GB, in minutes.
    After that, test runs these tests, too. Arguments go to pytest.
    """
    env = ready() | {SYSTEM: str(system())}
    ensure_debian13(env)
    become([PYTHON, BUILD / "wine.py", folder() / "windows", "pytest", *(arguments or TESTS)], env)


def wine_10_steps(steps: Steps) -> None:
    """Run these tests under Debian 13's Wine, if there is one."""
    if not is_made():
        steps.skip(NAME, "there is no Debian 13 here; python3 build/dev.py wine10 makes one, as root")
        return
    wine: list[str | Path] = [PYTHON, BUILD / "wine.py", folder() / "windows", "pytest"]
    pytest_step(steps, NAME, TESTS, program=wine, variables={SYSTEM: str(system())})


def folder() -> Path:
    """Return the folder of the Debian 13, with the Windows Python that its Wine runs."""
    return user_cache() / "tauri-sidecar" / "debian-13"


def system() -> Path:
    """Return the root folder of that Debian."""
    return folder() / "system"


def is_made() -> bool:
    """Tell whether that Debian exists and has Wine."""
    return (system() / "usr" / "bin" / "wine").exists()


def ensure_debian13(env: dict[str, str]) -> None:
    """Make a Debian 13 with Wine 10, unless there is one. Raises CannotError."""
    if is_made():
        return
    if not debian.is_root():
        raise CannotError("it needs root: debootstrap makes a Debian, and Wine runs in it by chroot.")
    DEBOOTSTRAP.ensure(env, "a Debian of its own")
    fresh = folder() / "fresh"
    shutil.rmtree(fresh, ignore_errors=True)
    fresh.mkdir(parents=True)
    say(f"Making a Debian 13 in {folder()} ...")
    must(["debootstrap", "--variant=minbase", "trixie", fresh], "debootstrap failed; its own words are above")
    install = "apt-get -q update && apt-get -q install -y --no-install-recommends wine wine64"
    inside: list[str | Path] = ["chroot", fresh, "env", "DEBIAN_FRONTEND=noninteractive", "sh", "-c", install]
    must(inside, "Wine could not be installed there; apt-get's own words are above")
    fresh.rename(system())
