"""The example as a Debian package: its content; an installed app runs its service and leaves nothing."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

if sys.platform != "linux":
    pytest.skip("Debian packages", allow_module_level=True)

from tests.package.support import APP, App, live_and_die, machine

DEB = Path(os.environ.get("SIDECAR_DEB", ""))
PLAIN_APP = os.environ.get("SIDECAR_PLAIN_APP", "")
"""The same app as a release without services."""
BINARY = os.environ.get("SIDECAR_BINARY", "")

as_root = pytest.mark.skipif(os.geteuid() != 0, reason="to install a package on a copy of this machine needs root")


@pytest.fixture
def unpacked(tmp_path: Path) -> Path:
    """Unpack the package into a folder."""
    folder = tmp_path / "root"
    subprocess.run(["dpkg-deb", "--extract", str(DEB), str(folder)], check=True)
    return folder


def field(name: str) -> str:
    done = subprocess.run(["dpkg-deb", "--field", str(DEB), name], capture_output=True, text=True, check=True)
    return done.stdout.strip()


def test_sidecar_in_the_package_is_the_frozen_binary_byte_for_byte(unpacked: Path) -> None:
    assert (unpacked / "usr/bin/sidecar").read_bytes() == Path(BINARY).read_bytes()


def test_unpacked_app_runs_its_service_and_nothing_outlives_it(tmp_path: Path, unpacked: Path, display: str) -> None:
    live_and_die(tmp_path, display, [str(unpacked / "usr/bin" / APP)])


@as_root
def test_it_installs_runs_and_is_removed_without_a_trace(tmp_path: Path, display: str) -> None:
    name = field("Package")
    with machine(tmp_path) as there:

        def run(*words: str, code: int = 0) -> str:
            done = subprocess.run([*there, *words], capture_output=True, text=True, check=False)
            assert done.returncode == code, done.stdout + done.stderr
            return done.stdout

        run("dpkg", "--install", str(DEB))
        files = [it for it in run("dpkg", "--listfiles", name).split() if it != "/."]
        run("test", "-x", f"/usr/bin/{APP}")
        live_and_die(tmp_path, display, [*there, f"/usr/bin/{APP}"])
        run("dpkg", "--purge", name)
        left = run("sh", "-c", 'for it in "$@"; do test -d "$it" || ! test -e "$it" || echo "$it"; done', "sh", *files)
        assert left == ""
        run("test", "-e", f"/usr/lib/{APP}", code=1)
    assert not Path(f"/usr/bin/{APP}").exists()


def test_a_release_without_services_starts_no_sidecar(tmp_path: Path, display: str) -> None:
    with App(tmp_path, display, [PLAIN_APP]) as app:
        app.await_page()
        assert Path(PLAIN_APP).with_name("sidecar").exists()  # it could have
        assert not [name for name in app.programs().values() if name.startswith("sidecar") and name != APP]
        app.kill()
    assert not app.state.exists()
    assert app.unpacked() == []
