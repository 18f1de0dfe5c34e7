"""The npm packages, installed from a registry on loopback: the shim runs the binary, and leaves no process."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

if sys.platform != "linux":
    pytest.skip("pidfds are Linux's", allow_module_level=True)

from build.platforms import PLATFORMS
from build.version import version
from sidecar.commands.init import binary
from tests.children.trees import SIZES
from tests.commands.init.support import make
from tests.dist.support import must, npm_install, run
from tests.faults.cell import tree
from tests.support.liveness import RollCall, await_end, control_group, send
from tests.support.waiting import WAIT_S

EXIT_CANNOT_RUN = 69
TREE = "daemon"
"""A tree that a kill of the process group does not reach."""


@pytest.fixture(scope="module")
def shim(dist: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return npm_install(dist, tmp_path_factory.mktemp("npm") / "app")


@pytest.fixture
def copy(shim: Path, tmp_path: Path) -> Path:
    """Copy the shim's project, so that a test may break it."""
    shutil.copytree(shim.parents[1], tmp_path / "node_modules", symlinks=True)
    return tmp_path / "node_modules" / ".bin" / "tauri-sidecar"


def platform_folder(shim: Path) -> Path:
    [folder] = (shim.parents[1] / "@tauri-sidecar").iterdir()
    return folder


@contextmanager
def preloaded(folder: Path, script: str) -> Iterator[dict[str, str]]:
    """Return variables that make node run the script before the shim."""
    file = folder / "before.cjs"
    file.write_text(script, encoding="utf-8")
    yield {"NODE_OPTIONS": f"--require={file}"}


def test_npm_installs_this_platform_and_locks_all(shim: Path) -> None:
    locked = json.loads((shim.parents[2] / "package-lock.json").read_text(encoding="utf-8"))["packages"]
    wanted = {f"node_modules/@tauri-sidecar/{each.npm}" for each in PLATFORMS.values()}
    assert wanted <= set(locked)
    assert platform_folder(shim).name in {each.npm for each in PLATFORMS.values()}


def test_the_shim_is_the_command_with_its_arguments_and_exit_code(shim: Path, tmp_path: Path) -> None:
    done = run(tmp_path, shim, "--version")
    assert (done.stdout, done.stderr, done.returncode) == (f"sidecar {version()}\n", "", 0)
    done = run(tmp_path, shim, "dev", "--port", "no number")
    assert done.returncode == 2
    assert "no number is not a port" in done.stderr


def test_init_by_npm_adds_the_package_and_the_binary(shim: Path, tmp_path: Path) -> None:
    app = make(tmp_path / "app")
    done = run(app, shim, "init", "--yes")
    assert done.returncode == 0, done.stderr
    package = json.loads((app / "package.json").read_text(encoding="utf-8"))
    assert package["devDependencies"]["tauri-sidecar"] == f"^{version()}"
    installed = (platform_folder(shim) / "sidecar").read_bytes()
    assert binary.place_in(app / "src-tauri", "binaries/test-sidecar").read_bytes() == installed
    assert "place_binary" in (app / "src-tauri" / "build.rs").read_text(encoding="utf-8")


def test_init_run_again_repairs_a_dead_crate_path_and_a_missing_binary(shim: Path, tmp_path: Path) -> None:
    app = make(tmp_path / "app")
    must(app, shim, "init", "--yes")
    manifest = app / "src-tauri" / "Cargo.toml"
    whole, place = manifest.read_text(encoding="utf-8"), binary.place_in(app / "src-tauri", "binaries/test-sidecar")
    released = f'tauri-plugin-sidecar = "{version()}"'
    assert whole.count(released) == 1
    manifest.write_text(whole.replace(released, 'tauri-plugin-sidecar = { path = "../gone" }'), encoding="utf-8")
    place.unlink()

    told = must(app, shim, "init", "--yes")
    assert "named the crate tauri-plugin-sidecar at ../gone, where there is none" in told
    assert told.splitlines()[-1] == "Done. Start the app with: npm run tauri:dev"
    dependencies = tomllib.loads(manifest.read_text(encoding="utf-8"))["dependencies"]
    assert dependencies["tauri-plugin-sidecar"] == {"version": version()}
    assert place.read_bytes() == (platform_folder(shim) / "sidecar").read_bytes()
    assert must(app, shim, "init", "--yes").startswith("Nothing to do: ")

    place.write_bytes(b"")  # the placeholder of a build that found none
    assert "a copy of the sidecar" in must(app, shim, "init", "--yes")
    assert place.stat().st_size > 0


@pytest.mark.parametrize("waits", [True, False], ids=["it waits", "as in this node"])
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_nothing_is_left_when_the_shim_is_killed(
    shim: Path, tmp_path: Path, number: signal.Signals, waits: bool
) -> None:
    """If node has execve, the binary replaces the shim. Otherwise the binary watches the shim."""
    script = "delete process.execve;" if waits else ""
    with control_group(divisible=True) as group, RollCall() as roll, preloaded(tmp_path, script) as variables:

        def enter() -> None:
            if group is not None:
                Path(f"{group}/cgroup.procs").write_text("0", encoding="ascii")

        process = subprocess.Popen(
            [shim, "dev", "--", *tree(TREE)],
            cwd=tmp_path,
            env={**os.environ, **roll.env, **variables, "SIDECAR_STATE_DIR": str(tmp_path / "state")},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
            preexec_fn=enter,  # noqa: PLW1509  the test has no other thread
        )
        try:
            roll.await_living(TREE, SIZES[TREE])
            process.send_signal(number)
            process.wait(WAIT_S)
            roll.await_dead()
        finally:
            process.kill()
            process.wait(WAIT_S)
        if number in {signal.SIGTERM, signal.SIGINT}:
            assert process.returncode == 128 + number, "the binary got the signal, and ended by itself"


def test_a_shim_killed_before_the_binary_looks_leaves_nothing(copy: Path, tmp_path: Path) -> None:
    """The binary then has another parent, and would watch that if the shim had not named itself."""
    program, go = platform_folder(copy) / "sidecar", tmp_path / "go"
    program.rename(program.with_name("real"))
    os.mkfifo(go)
    program.write_text(f'#!/bin/sh\nread line <{go}\nexec {program.parent}/real "$@"\n')
    program.chmod(0o755)
    said = tmp_path / "said"
    with RollCall() as roll, preloaded(tmp_path, "delete process.execve;") as variables, said.open("wb") as sink:
        env = {**os.environ, **roll.env, **variables, "SIDECAR_STATE_DIR": str(tmp_path / "state")}
        words = [str(copy), "dev", "--", *tree(TREE)]
        process = subprocess.Popen(words, cwd=tmp_path, env=env, stdin=subprocess.DEVNULL, stdout=sink, stderr=sink)
        with go.open("w", encoding="ascii") as told:  # opened once the script reads
            [script] = (
                int(pid) for pid in Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
            )
            pidfd = os.pidfd_open(script)
            process.kill()
            process.wait(WAIT_S)
            told.write("go\n")
        try:
            await_end(pidfd, "the binary")
        finally:
            send(pidfd, signal.SIGKILL)
            os.close(pidfd)
        assert roll.seen == 0
    assert "the process to watch (the app) is dead already" in said.read_text(encoding="utf-8")


def test_a_lock_without_the_platforms_package_is_told_in_one_sentence(copy: Path, tmp_path: Path) -> None:
    name = platform_folder(copy).name
    shutil.rmtree(platform_folder(copy))
    done = run(tmp_path, copy, "--version")
    assert (done.stdout, done.returncode) == ("", EXIT_CANNOT_RUN)
    assert done.stderr.count("\n") == 1
    assert f"the package @tauri-sidecar/{name}, which has the binary for this system, is not installed" in done.stderr
    assert f"npm install --save-optional @tauri-sidecar/{name}@{version()}" in done.stderr


def test_a_binary_that_may_not_be_executed_is_told(copy: Path, tmp_path: Path) -> None:
    (platform_folder(copy) / "sidecar").chmod(0o644)
    done = run(tmp_path, copy, "--version")
    assert done.returncode == EXIT_CANNOT_RUN
    assert "may not be executed" in done.stderr


@pytest.mark.parametrize(
    ("script", "named"),
    [
        ('Object.defineProperty(process, "arch", { value: "riscv64" });', "linux-riscv64-gnu"),
        ("process.report.getReport = () => ({ header: {} });", "-musl"),
    ],
    ids=["another processor", "another C library"],
)
def test_a_system_without_a_binary_is_told(shim: Path, tmp_path: Path, script: str, named: str) -> None:
    with preloaded(tmp_path, script) as variables:
        done = run(tmp_path, shim, "--version", timeout=WAIT_S, **variables)
    assert done.returncode == EXIT_CANNOT_RUN
    assert f"{named}; there is one for each of " in done.stderr
    assert done.stderr.count("\n") == 1
