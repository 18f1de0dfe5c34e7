"""The example as Tauri's RPM package: its content; its app leaves nothing."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

if sys.platform != "linux":
    pytest.skip("RPM packages", allow_module_level=True)
if shutil.which("rpm2archive") is None:
    pytest.skip("there is no rpm2archive on PATH (it comes with: apt-get install rpm)", allow_module_level=True)

from tests.package.support import APP, live_and_die

RPM = Path(os.environ.get("SIDECAR_RPM", ""))
BINARY = os.environ.get("SIDECAR_BINARY", "")


@pytest.fixture
def unpacked(tmp_path: Path) -> Path:
    """Unpack the package into a folder."""
    package = Path(shutil.copy(RPM, tmp_path / "package.rpm"))
    subprocess.run(["rpm2archive", package], check=True)
    root = tmp_path / "root"
    root.mkdir()
    subprocess.run(["tar", "--extract", f"--file={package}.tgz", f"--directory={root}"], check=True)
    return root


def test_the_sidecar_in_the_rpm_is_the_binary_that_was_frozen_byte_for_byte(unpacked: Path) -> None:
    assert (unpacked / "usr/bin/sidecar").read_bytes() == Path(BINARY).read_bytes()


def test_the_app_of_the_rpm_runs_its_service_and_nothing_outlives_it(
    tmp_path: Path, unpacked: Path, display: str
) -> None:
    live_and_die(tmp_path, display, [str(unpacked / "usr/bin" / APP)])
