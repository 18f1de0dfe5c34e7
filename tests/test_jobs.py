"""The jobs of build/dev.py: the summary of skips, when packages may be installed, and that no test is left out."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from build.jobs import check, debian, lanes, rust, steps, suites
from build.jobs.lanes import Work
from build.jobs.steps import Steps
from tests.support.waiting import until

ROOT = Path(__file__).resolve().parents[1]
JUNIT = """<testsuites><testsuite>
<testcase classname="tests.a" name="one" time="7.5"/>
<testcase classname="tests.a" name="two" time="0.1"><skipped type="pytest.skip" message="no fish here"/></testcase>
<testcase classname="tests.a" name="three" time="0.1"><skipped type="pytest.xfail" message="known"/></testcase>
</testsuite></testsuites>"""


@pytest.mark.parametrize(
    ("forbidden", "code"),
    [
        ("", 0),
        ("; ", 0),
        ("the kernel's process events", 1),
        ("Wine is missing; process events", 1),
        ("Wine is missing", 0),
    ],
)
def test_a_skip_that_must_not_happen_fails_the_job(
    forbidden: str, code: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv(steps.MUST_NOT_SKIP, forbidden)
    it = Steps({})
    it.done.steps.append(("pytest", "ok", 1.0))
    it.done.skipped.append("3 tests: this user may not receive the kernel's process events: Operation not permitted")
    assert it.summary() == code
    assert ("must not be" in capsys.readouterr().out) == bool(code)


def test_a_summary_names_the_slow_tests_and_the_skipped_ones(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "junit.xml").write_text(JUNIT, encoding="utf-8")
    it = Steps({})
    it.done.steps.append(("pytest", "ok", 1.0))
    it.done.add(steps.read_report(tmp_path / "junit.xml", "pytest of a"))
    assert it.summary() == 0
    told = capsys.readouterr().out.splitlines()
    assert [line.split()[-4:] for line in told if line.startswith("slow:")] == [["tests.a::one", "(pytest", "of", "a)"]]
    assert [line for line in told if line.startswith("skipped:")] == ["skipped: 1 test: no fish here"]


def test_every_test_file_belongs_to_one_group() -> None:
    """A new folder needs no entry."""
    files = {it.relative_to(ROOT).as_posix() for it in (ROOT / "tests").rglob("test_*.py")}
    files = {it for it in files if "node_modules" not in it}
    taken = {it for it in files if any(it == path or it.startswith(f"{path}/") for path in rust.APP_TESTS)}
    for name in suites.GROUPS:
        words = suites.arguments_of(name)
        ignored = [word.removeprefix("--ignore=") for word in words if word.startswith("--ignore=")]
        own = [word for word in words if not word.startswith("--ignore=")]

        def below(file: str, paths: list[str]) -> bool:
            return any(file == path or file.startswith(f"{path}/") for path in paths)

        mine = {it for it in files if below(it, own) and not below(it, ignored)}
        assert mine, f"the group {name} has no tests"
        assert not mine & taken
        taken |= mine
    assert taken == files


@pytest.mark.parametrize("platform", suites.FROZEN_TESTS)
def test_what_runs_frozen_is_there(platform: str) -> None:
    assert [it for it in suites.FROZEN_TESTS[platform] if not (ROOT / it).exists()] == []


def test_the_page_says_why_each_test_runs_frozen() -> None:
    page = (ROOT / "tests" / "README.md").read_text(encoding="utf-8")
    _, _, section = page.partition("### What runs frozen")
    section = section.partition("\n## ")[0]
    names = {re.sub("_system_.*", "_system_*.py", Path(it).name) for it in suites.FROZEN_TESTS["linux"]}
    assert [name for name in names if f"{name}`" not in section and f"`{name}/`" not in section] == []


def test_what_the_inner_loop_tests_is_there() -> None:
    assert [it for it in (*check.CORE_TESTS, *check.OTHER_TESTS) if not (ROOT / it).exists()] == []


@pytest.mark.parametrize(
    ("word", "ci", "terminal", "root", "answer", "may"),
    [
        ("--install", False, False, False, "", True),
        ("--no-install", True, True, True, "y", False),
        ("", True, False, False, "", True),
        ("", False, True, True, "n", False),
        ("", False, True, True, "", False),
        ("", False, True, False, "y", True),
        ("", False, False, True, "", True),
        ("", False, False, False, "", False),
    ],
    ids=["asked for", "forbidden", "CI", "root says no", "Enter", "user says yes", "bare container", "plain user"],
)
def test_debian_packages_are_installed_when_somebody_said_so(
    word: str, ci: bool, terminal: bool, root: bool, answer: str, may: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(debian, "CONSENT", debian.Consent())
    monkeypatch.setattr(debian, "attended", lambda: terminal)
    monkeypatch.setattr(debian, "is_root", lambda: root)
    asked: list[str] = []

    def person(question: str) -> str:
        asked.append(question)
        return answer

    monkeypatch.setattr("builtins.input", person)
    monkeypatch.delenv("CI", raising=False)
    if ci:
        monkeypatch.setenv("CI", "true")
    assert debian.take_words(["-k", *([word] if word else []), "name"]) == ["-k", "name"]
    assert debian.CONSENT.given("wine", "Wine") == may
    assert debian.CONSENT.given("xvfb", "Xvfb") == may
    assert len(asked) == (1 if terminal and not word and not ci else 0)


def test_works_begin_with_the_longest_and_report_in_their_own_order(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A duration measured on this machine takes precedence over the usual one."""
    durations = tmp_path / "durations.json"
    durations.write_text(json.dumps({"b": 90.0, "gone": 1.0}), encoding="utf-8")
    begun: list[str] = []

    def work(name: str) -> Work:
        def do(inner: Steps) -> None:
            begun.append(name)
            inner.run(f"step {name}", [sys.executable, "-c", f"print('said by', '{name}')"])

        return Work(name, do, {"a": 1, "b": 2, "c": 3}[name])

    it = Steps(dict(os.environ))
    lanes.at_once(it, [work(name) for name in "abc"], durations, 1)
    assert begun == ["b", "c", "a"]
    assert [name for name, _, _ in it.done.steps] == ["step a", "step b", "step c"]
    told = [line for line in capsys.readouterr().out.splitlines() if line]
    assert told[1:] == ["== step b", "said by b", "== step c", "said by c", "== step a", "said by a"]
    assert set(lanes.read_durations(durations)) == {"a", "b", "c", "gone"}


def test_two_works_run_at_the_same_time_and_a_failed_one_is_raised(tmp_path: Path) -> None:
    meeting = threading.Barrier(2, timeout=60)

    def fails(_: Steps) -> None:
        meeting.wait()
        raise steps_error

    steps_error = RuntimeError("of a work")
    works = [Work("a", fails, 1), Work("b", lambda _: (meeting.wait(), None)[1], 1)]
    with pytest.raises(RuntimeError, match="of a work"):
        lanes.at_once(Steps({}), works, tmp_path / "durations.json", 2)


def test_nothing_goes_on_after_a_work_that_raised(tmp_path: Path) -> None:
    """The running step of another work is stopped, and that work begins no further step."""
    running = tmp_path / "running"
    code = f"import pathlib, time; pathlib.Path({str(running)!r}).touch(); time.sleep(600)"
    ended: list[str] = []

    def long(inner: Steps) -> None:
        inner.run("long", [sys.executable, "-c", code])
        inner.run("next", [sys.executable, "-c", ""])
        ended.extend(result for _, result, _ in inner.done.steps)

    def fails(_: Steps) -> None:
        until(running.exists, "the long one's program", 60)
        raise RuntimeError("of a work")

    works = [Work("long", long, 3), Work("fails", fails, 2)]
    with pytest.raises(RuntimeError, match="of a work"):
        lanes.at_once(Steps(dict(os.environ)), works, tmp_path / "durations.json", 2)
    assert [result.partition(" ")[0] for result in ended] == ["FAILED", "not"]


@pytest.mark.parametrize("text", ["", "[1]", '{"a": "long"}'], ids=["empty", "a list", "words"])
def test_durations_that_are_none_count_for_nothing(text: str, tmp_path: Path) -> None:
    (tmp_path / "durations.json").write_text(text, encoding="utf-8")
    assert lanes.read_durations(tmp_path / "durations.json") == {}


@pytest.mark.parametrize(
    ("change", "same"),
    [
        (lambda crate: None, True),
        (lambda crate: (crate / "target" / "made").write_text("x"), True),
        (lambda crate: (crate / "permissions" / "autogenerated" / "greet.toml").write_text("x"), True),
        (lambda crate: (crate / "src" / "lib.rs").write_text("fn b() {}"), False),
        (lambda crate: (crate / "src" / "new.rs").write_text(""), False),
        (lambda crate: (crate / "Cargo.lock").unlink(), False),
    ],
    ids=["nothing", "a build", "a build's permission", "a line", "a file", "the lock"],
)
def test_clippy_for_others_runs_again_where_the_rust_has_changed(
    change: Callable[[Path], object], same: bool, tmp_path: Path
) -> None:
    for folder in ("src", "target", "permissions/autogenerated"):
        (tmp_path / folder).mkdir(parents=True)
    (tmp_path / "src" / "lib.rs").write_text("fn a() {}")
    (tmp_path / "Cargo.lock").write_text("")
    before = rust.rust_digest("target", b"1.90", [tmp_path])
    change(tmp_path)
    assert (rust.rust_digest("target", b"1.90", [tmp_path]) == before) == same


def test_a_check_that_passed_runs_again_only_for_other_rust(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One that failed or was skipped runs again, too."""
    (tmp_path / "target").mkdir()
    monkeypatch.setattr(rust, "versions", lambda _: b"")
    it = Steps({**os.environ, "CARGO_TARGET_DIR": str(tmp_path)})

    def offer(digest: str, check: Callable[[], None]) -> str:
        """Return the result of the last step after this check was offered."""
        monkeypatch.setattr(rust, "rust_digest", lambda *_: digest)
        rust.unless_passed(it, "check", "target", check)
        return it.done.steps[-1][1]

    def run(code: str) -> None:
        it.run("check", [sys.executable, "-c", code])

    assert offer("one", lambda: run("raise SystemExit(1)")) == "FAILED (1)"
    assert offer("one", lambda: it.skip("check", "no fish here")) == "skipped"
    assert offer("one", lambda: run("")) == "ok"
    assert offer("one", lambda: run("")) == "ok (unchanged since it passed)"
    assert offer("other", lambda: run("")) == "ok"


def test_the_jobs_are_found_beside_another_package_named_build(tmp_path: Path) -> None:
    """PyPI has a package of that name, which is often installed."""
    (tmp_path / "build").mkdir()
    (tmp_path / "build" / "__init__.py").write_text("raise ImportError('the wrong one')")
    code = f"import sys; sys.path.insert(0, {str(tmp_path)!r}); import runpy; sys.argv = ['dev.py', 'help']; "
    code += f"runpy.run_path({str(ROOT / 'build' / 'dev.py')!r}, run_name='__main__')"
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "check" in done.stdout
