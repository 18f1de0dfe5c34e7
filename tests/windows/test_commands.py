"""The commands for a console: ``ps``, ``clean``, ``doctor``, and ``dev`` with plain output."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import psutil
import pytest

if sys.platform != "win32":
    pytest.skip("Windows' own", allow_module_level=True)

from sidecar.commands.dev import OPENER_PART
from sidecar.commands.doctor.prove.windows import trees
from tests.support import waiting
from tests.support.command import BINARY, SIDECAR, Message, from_source
from tests.windows.support import (
    CHILDREN,
    OWNERS_UNNAMED,
    PYTHON,
    ROOT,
    UNDER_WINE,
    WAIT_S,
    Direct,
    RollCall,
    await_end,
    held,
    node,
    program,
)

PROOF_S = 500.0
"""Longest wait for a proof, which starts four sidecars (with bootloaders if frozen) and some 120 processes."""

LOOK_S = 0.1
"""Poll interval for a record, which a thread writes in the background."""
until = partial(waiting.until, seconds=WAIT_S, pause_s=LOOK_S)

LISTENER = program("listen:127.0.0.1={port}", "hold", port={"sticky": False}, ready={"type": "tcp"})


def environment(folder: Path, **more: str) -> dict[str, str]:
    temporary = folder / "unpacked"
    temporary.mkdir(exist_ok=True)
    state = str(folder / "state")
    return {**os.environ, "SIDECAR_STATE_DIR": state, "TEMP": str(temporary), "TMP": str(temporary), **more}


def run(folder: Path, *words: str, **env: str) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(
        [*SIDECAR, *words],
        env=environment(folder, **env),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        timeout=PROOF_S if "--prove" in words else WAIT_S,
        check=False,
    )


def told(folder: Path, *words: str, code: int = 0, **env: Any) -> Any:
    done = run(folder, *words, "--json", **env)
    assert (done.returncode, done.stderr) == (code, b"")
    return json.loads(done.stdout)


def shown(folder: Path, state: str) -> Any:
    """Wait until ``ps`` shows this state for the only service of the only run; return the service."""

    def look() -> Any:
        [only] = told(folder, "ps")["runs"]
        return next((it for it in only["services"] if it["state"] == state), None)

    return until(look, f"a service that is {state}")


# ── no command ────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_without_arguments_and_stdin_it_is_a_sidecar_whose_app_is_gone(
    tmp_path: Path,
) -> None:
    """``isatty`` calls NUL a terminal. Printing the help there would be wrong: no user reads it."""
    done = run(tmp_path)
    assert (done.returncode, done.stdout) == (3, b"")
    done = run(tmp_path, "--log-level", "error")
    assert (done.returncode, done.stdout) == (3, b"")


# ── ps ────────────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_where_nothing_runs_ps_says_so(tmp_path: Path) -> None:
    found = told(tmp_path, "ps")
    del found["unrecorded"]  # tests that run now keep their records elsewhere
    assert found == {"runs": [], "dead": 0, "elsewhere": 0, "problems": []}
    assert run(tmp_path, "ps").stdout.startswith(b"No sidecar is running.")


def test_a_run_is_shown_with_its_app_its_layers_and_its_services(tmp_path: Path) -> None:
    with Direct(tmp_path) as it:
        claimed = it.client.hello({"web": LISTENER})
        it.client.call("start", service="web")
        status = it.client.status("web")
        service = shown(tmp_path, "ready")
        [only] = told(tmp_path, "ps")["runs"]
        assert only["app"]["pid"] == os.getpid()
        assert (only["supervisor"]["pid"], only["guard"]) == (claimed["pid"], None)
        assert only["guarantees"] == claimed["guarantees"]
        assert only["memoryBytes"] > 0
        assert (service["program"]["pid"], service["port"]) == (status["pid"], status["port"])
        assert service["processes"] >= 1, "its console may have its own process"
        assert service["memoryBytes"] > 0
        assert service["program"]["uptimeMs"] >= 0
        assert "program.py" in service["program"]["command"]
        if not OWNERS_UNNAMED:
            assert (service["listening"], service["url"]) == (True, status["url"])
        text = run(tmp_path, "ps").stdout.decode()
        for fact in (f"(pid {os.getpid()})", "web", "ready", str(status["pid"]), "jobObject"):
            assert fact in text
        assert "guard" not in text, "there is none"


def test_all_of_a_tree_is_counted_also_who_left_it(tmp_path: Path) -> None:
    with Direct(tmp_path) as it:
        services = {"alone": program("print:up", "hold"), "two": program("daemon", "print:up", "hold")}
        it.client.hello(services)
        it.client.start_all(services)
        it.client.printed("two", "up")

        def counts() -> bool:
            [only] = told(tmp_path, "ps")["runs"]
            found = {each["name"]: each["processes"] for each in only["services"]}
            return bool(found["two"] > found["alone"] > 0)

        until(counts, "one more for the daemon")


def test_stopped_service_has_no_program_and_an_ended_run_is_not_shown(tmp_path: Path) -> None:
    with Direct(tmp_path) as it:
        it.client.hello({"web": LISTENER})
        it.client.call("start", service="web")
        shown(tmp_path, "ready")
        it.client.call("stop", service="web")
        service = shown(tmp_path, "stopped")
        assert (service["program"], service["url"], service["processes"]) == (None, None, 0)
        it.client.call("shutdown")
        assert it.exit_code() == 0
        assert told(tmp_path, "ps")["runs"] == []
        assert list((tmp_path / "state" / "runs").iterdir()) == []


# ── clean ─────────────────────────────────────────────────────────────────────────────────────────────────────────────


def killed(folder: Path) -> Path:
    """Kill a supervisor, whose job then ends its tree; return the record that it leaves."""
    with Direct(folder) as it:
        hello = it.client.hello({"web": program("ignore:SIGTERM", "print:up", "hold")})
        it.client.call("start", service="web")
        shown(folder, "ready")
        supervisor, service = held(hello["pid"]), held(it.client.status("web")["pid"])
        supervisor.kill()
        await_end(supervisor)
        await_end(service)
    [record] = (folder / "state" / "runs").iterdir()
    return record


def test_ps_counts_a_killed_supervisor_and_clean_removes_its_record(tmp_path: Path) -> None:
    record = killed(tmp_path)
    found = told(tmp_path, "ps")
    assert (found["runs"], found["dead"]) == ([], 1)
    left = told(tmp_path, "clean", "--dry-run")
    assert [it["record"] for it in left["runs"]] == [str(record)]
    assert record.exists()
    assert str(record) in run(tmp_path, "clean", "--dry-run").stdout.decode()
    assert run(tmp_path, "clean").returncode == 2, "without a terminal it cannot ask"
    assert told(tmp_path, "clean", "--yes")["records"] == 1
    assert not record.exists()
    assert run(tmp_path, "clean", "--yes").stdout.startswith(b"Nothing is left")


def test_the_next_start_removes_a_killed_supervisors_record_and_says_so(tmp_path: Path) -> None:
    record = killed(tmp_path)
    with Direct(tmp_path) as it:
        it.client.hello({})
        assert it.client.note("supervisor/swept")["records"] == 1
        assert not record.exists()


def test_records_of_living_runs_and_of_reused_pids_are_left_alone(
    tmp_path: Path,
) -> None:
    with Direct(tmp_path) as it:
        hello = it.client.hello({"web": LISTENER})
        it.client.call("start", service="web")
        shown(tmp_path, "ready")
        [living] = (tmp_path / "state" / "runs").iterdir()
        dead = json.loads(living.read_bytes())
        assert dead["owners"][0]["pid"] == hello["pid"]
        dead["owners"][0]["start"] -= 1
        planted = living.with_name("d" * 32 + ".json")
        planted.write_text(json.dumps({**dead, "runId": "d" * 32}))
        assert told(tmp_path, "clean", "--yes")["records"] == 1
        assert list(living.parent.iterdir()) == [living]
        assert it.client.status("web")["state"] == "ready"


# ── doctor ────────────────────────────────────────────────────────────────────────────────────────────────────────────


def findings(folder: Path, *words: str, code: int, **env: str) -> tuple[Message, Message]:
    report = told(folder, "doctor", *words, code=code, **env)
    return {it["subject"]: it for it in report["findings"]}, {it["name"]: it for it in report["layers"]}


def test_doctor_tells_what_is_missing_and_which_layers_hold(tmp_path: Path) -> None:
    found, layers = findings(tmp_path, str(tmp_path), code=1, PATH=str(tmp_path), USERPROFILE=str(tmp_path))
    assert found["node"]["verdict"] == "bad"
    assert found["project"]["verdict"] == "bad"
    assert (found["state folder"]["verdict"], found["state folder"]["found"]) == ("ok", str(tmp_path / "state"))
    assert found["runs"]["found"] == "0 sidecars running, nothing left of dead ones"
    assert {name: it["holds"] for name, it in layers.items()} == {
        "jobObject": True,
        "parentWatch": True,
        "stdinGuard": True,
    }


def test_doctor_tells_that_a_port_is_taken_and_by_whom(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        found, _ = findings(tmp_path, str(tmp_path), "--port", str(port), code=1)
        assert found[f"port {port}"]["verdict"] == "note"
        assert "taken by" in found[f"port {port}"]["found"]
        if not OWNERS_UNNAMED:
            assert f"pid {os.getpid()}" in found[f"port {port}"]["found"]


# ── doctor --prove ────────────────────────────────────────────────────────────────────────────────────────────────────


CLAIMS = {
    "the app": ["parentWatch"],
    "the supervisor": ["jobObject"],
    **({"the bootloader": []} if BINARY else {}),
    "all of them at once": ["jobObject"],
}
"""By victim: the guarantees that this kill proves."""


@pytest.fixture
def project(tmp_path: Path) -> str:
    """A project in which doctor finds nothing missing."""
    vite = tmp_path / "project" / "node_modules" / "vite"
    (vite / "bin").mkdir(parents=True)
    (vite / "package.json").write_text('{"bin": "bin/vite.js"}')
    (vite / "bin" / "vite.js").write_text("")
    return str(tmp_path / "project")


def marked(mark: str) -> list[psutil.Process]:
    """Return the processes with this mark in their environment."""

    def has(it: psutil.Process) -> bool:
        try:
            return it.environ().get("DOCTOR_MARK") == mark
        except (psutil.Error, OSError):
            return False  # it has ended since the listing, or belongs to the system

    return [it for it in psutil.process_iter() if has(it)]


@contextmanager
def watched(folder: Path) -> Iterator[dict[str, Any]]:
    """Yield variables for doctor. At the end no process or file of it may be left."""
    mark = os.urandom(16).hex()
    yield {"DOCTOR_MARK": mark, "PATH": f"{Path(node()).parent};{os.environ['PATH']}"}
    until(lambda: marked(mark) == [], "the end of all its processes")  # doctor waits only for those in its job
    assert list((folder / "unpacked").iterdir()) == []


@pytest.mark.skipif(UNDER_WINE, reason="takes minutes under Wine, where another test does it with smaller trees")
def test_here_every_claim_holds_and_nobody_survives_what_can_be_killed(tmp_path: Path, project: str) -> None:
    with watched(tmp_path) as env:
        report = told(tmp_path, "doctor", project, "--prove", **env)
    assert {it["killed"]: it["claims"] for it in report["proof"]} == CLAIMS
    assert [it["name"] for it in report["untried"]] == ["stdinGuard"]
    assert_held(report, sum(trees.SIZES.values()))


def assert_held(report: dict[str, Any], processes: int) -> None:
    """Assert that each kill has left none of so many processes."""
    for row in report["proof"]:
        assert row["processes"] == processes
        assert (row["survivors"], row["traces"], row["problem"]) == ([], [], None)
        assert (row["untilNextStart"], row["sweepMilliseconds"], row["excused"]) == (0, None, [])
        assert row["held"] is True
    assert report["ok"] is True


PATCHED = """
import sys
sys.path.insert(0, {root!r})
from sidecar.host import frozen
frozen.itself = lambda *words: [sys.executable, __file__, *words]  # its children are patched as well
from sidecar.host.windows import winapi
{code}
if "--prove" in sys.argv:
    from sidecar.commands.doctor.prove import trials
    from sidecar.commands.doctor.prove.windows import platform
    if {code!r}:
        trials.DEATH_S = 2.0  # some processes survive by design: do not wait for them
    platform.PLANS = {{name: plan for name, plan in platform.PLANS.items() if name in {victims!r}}}
    platform.SIZES = {trees!r}
from sidecar.cli import main
sys.exit(main())
"""
"""A script that patches the sidecar and runs it. The sidecars that doctor starts run the same script."""

SMALL_TREES = {"plain": 3, "detached": 2, "breakaway": 2}

APP_IS_NOT_SEEN = """
from sidecar.host.windows.session import WindowsSession
WindowsSession.watch = lambda *_: None
"""


def proof(folder: Path, project: str, victims: tuple[str, ...], *, patch: str = "", code: int = 0) -> dict[str, Any]:
    """Return the report of a patched sidecar about these kills of small trees."""
    script = folder / "patched.py"
    script.write_text(PATCHED.format(root=str(ROOT), code=patch, victims=victims, trees=SMALL_TREES))
    with watched(folder) as env:
        done = subprocess.run(
            [sys.executable, str(script), "doctor", project, "--prove", "--json"],
            env=environment(folder, **env),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=PROOF_S,
            check=False,
        )
    assert (done.returncode, done.stderr) == (code, b"")
    return dict(json.loads(done.stdout))


@from_source
def test_every_claim_holds_for_small_trees(tmp_path: Path, project: str) -> None:
    report = proof(tmp_path, project, tuple(CLAIMS))
    assert {it["killed"]: it["claims"] for it in report["proof"]} == CLAIMS
    assert_held(report, sum(SMALL_TREES.values()))


@from_source
@pytest.mark.parametrize(
    ("claim", "victim", "code", "survivors"),
    [
        ("jobObject", "the supervisor", "winapi._KILL_ON_JOB_CLOSE = 0", 7),
        ("jobObject", "all of them at once", "winapi._KILL_ON_JOB_CLOSE = 0", 7),
        ("jobObject", "the supervisor", "winapi._KILL_ON_JOB_CLOSE |= winapi._BREAKAWAY_OK", 1),
        ("parentWatch", "the app", APP_IS_NOT_SEEN, 7),
    ],
    ids=["job outlives its handle", "job outlives all its owners", "job lets children out", "app's death is not seen"],
)
def test_a_claim_that_does_not_hold_is_found_with_code_1(
    tmp_path: Path, project: str, claim: str, victim: str, code: str, survivors: int
) -> None:
    report = proof(tmp_path, project, (victim,), patch=code, code=1)
    [row] = report["proof"]
    living = {it for it in row["survivors"] if "program" not in it and it != "the supervisor"}
    assert len(living) == survivors
    assert any(it.startswith("breakaway child") for it in living)
    assert (row["claims"], row["held"], report["ok"]) == ([claim], False, False)


def test_one_that_is_killed_in_the_middle_leaves_nothing_running(tmp_path: Path, project: str) -> None:
    mark = os.urandom(16).hex()
    words = ["doctor", project, "--prove"]
    env = environment(tmp_path, DOCTOR_MARK=mark)
    with subprocess.Popen([*SIDECAR, *words], env=env, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL) as doctor:
        above = held(doctor.pid)
        try:
            until(lambda: len(marked(mark)) > trees.SIZES["wide"], "part of a tree")
            below = [it for it in above.children() if it.cmdline()[1:] == above.cmdline()[1:]]
            (below or [above])[0].kill()  # if frozen, kill doctor itself and not its bootloader
        finally:
            doctor.kill()
        until(lambda: marked(mark) == [], "the end of all its processes")


# ── dev ───────────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_dev_shows_plain_lines_and_ends_with_its_program(tmp_path: Path) -> None:
    script = str(CHILDREN / "program.py")
    done = run(tmp_path, "dev", "--", *PYTHON, script, "print:\x1b[31mhere", "exit:0")
    text = done.stdout.decode().splitlines()
    assert (done.returncode, done.stderr) == (0, b"")
    assert "> starting python" in text[0].replace("»", ">")
    assert any(line.endswith(" here") and "\x1b" not in line for line in text)


def test_dev_tells_programs_in_json_and_fails_with_what_fails(tmp_path: Path) -> None:
    done = run(tmp_path, "dev", "--json", "--", str(tmp_path / "missing.exe"))
    messages = [json.loads(line) for line in done.stdout.splitlines()]
    assert done.returncode == 1
    failed = [it["params"] for it in messages if it["method"] == "service/state" and it["params"]["state"] == "failed"]
    assert failed[0]["error"]["data"]["kind"] == "ProcessSpawnFailed"


def test_a_run_of_dev_is_shown_by_ps_and_its_end_is_that_of_its_tree(tmp_path: Path) -> None:
    script = str(CHILDREN / "program.py")
    words = ["dev", "--", *PYTHON, script, "ignore:SIGTERM", "listen:127.0.0.1={port}", "hold"]
    with subprocess.Popen(
        [*SIDECAR, *words], env=environment(tmp_path), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE
    ) as dev:
        try:
            assert dev.stdout is not None
            while b"is ready on http://127.0.0.1:" not in (line := dev.stdout.readline()):
                assert line
            service = held(shown(tmp_path, "ready")["program"]["pid"])
        finally:
            dev.kill()
        await_end(service)


def test_the_browser_that_open_starts_outlives_us(tmp_path: Path) -> None:
    """Everything else ends with the supervisor's job, including the process that opens pages."""
    script = [*PYTHON, str(CHILDREN / "program.py"), "listen:127.0.0.1={port}", "hold"]
    browser = " ".join(Path(it).as_posix() for it in (*PYTHON, str(CHILDREN / "browser.py"))) + " %s"
    with RollCall() as liveness:
        env = environment(tmp_path, BROWSER=browser, **liveness.env)
        with subprocess.Popen(
            [*SIDECAR, "dev", "--open", "--", *script], env=env, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE
        ) as dev:
            try:
                assert dev.stdout is not None
                while b"is ready on http://127.0.0.1:" not in (line := dev.stdout.readline()):
                    assert line
                url = next(word for word in line.decode().split() if word.startswith("http://"))
                liveness.await_living(url, 1)
                service = held(shown(tmp_path, "ready")["program"]["pid"])
                openers = [it for it in psutil.Process(dev.pid).children(recursive=True) if OPENER_PART in it.cmdline()]
            finally:
                dev.kill()
            for it in (service, *openers):
                await_end(it)
        assert openers
        liveness.prove_alive(url)
