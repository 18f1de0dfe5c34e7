"""Imports and garbage collection at a start."""

from __future__ import annotations

import gc
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from sidecar import cli
from sidecar.commands import dispatch
from sidecar.runtime.run import all_is_loaded

WAIT_S = 60
"""Timeout of one run: far more than a start takes on a busy machine."""


FIND_US = f"import sys; sys.path.insert(0, {str(Path(__file__).parents[1])!r})"
"""An embedded Python, as under Wine, does not look for modules in the current folder."""


def printed(code: str) -> str:
    """Run the code in a new Python; return its output."""
    command = [sys.executable, "-c", FIND_US + code]
    return subprocess.run(command, capture_output=True, text=True, timeout=WAIT_S, check=True).stdout.strip()


def test_modules_that_msgspec_was_loaded_without_are_loaded_when_asked_for() -> None:
    code = """
import sys
from sidecar.host import _load_msgspec
_load_msgspec()
import msgspec, uuid
class Documented(msgspec.Struct):
    \"\"\"What it is.\"\"\"
schema = msgspec.json.schema(Documented)
print(schema["$defs"]["Documented"]["description"], uuid.UUID(int=7).int)
import platform, textwrap
print(platform.system() != "", textwrap.dedent("  x"))
"""
    assert printed(code).split() == ["What", "it", "is.", "7", "True", "x"]


def test_modules_that_are_loaded_already_stay() -> None:
    code = """
import platform, textwrap
from sidecar.host import _load_msgspec
_load_msgspec()
import sys
print(sys.modules["platform"] is platform, sys.modules["textwrap"] is textwrap)
"""
    assert printed(code) == "True True"


def test_another_msgspec_may_need_such_a_module_while_it_is_loaded(tmp_path: Path) -> None:
    (tmp_path / "msgspec.py").write_text("import textwrap\nTEXT = textwrap.dedent('  x')\n", encoding="utf-8")
    code = f"""
import sys
sys.path.insert(0, {str(tmp_path)!r})
from sidecar.host import _load_msgspec
_load_msgspec()
import msgspec, textwrap
print(msgspec.TEXT, sys.modules["textwrap"] is textwrap, textwrap.dedent("  y"), "typing_extensions" in sys.modules)
"""
    assert printed(code) == "x True y False"


@pytest.fixture
def collector() -> Iterator[None]:
    """Turn the garbage collector on again after the test."""
    yield
    gc.enable()
    gc.unfreeze()


@pytest.mark.usefixtures("collector")
@pytest.mark.parametrize(("words", "collects"), [(["stdio"], False), (["dev"], False), (["ps"], True)])
def test_only_a_supervisor_loads_without_collecting_garbage(
    words: list[str], collects: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dispatch, "run", lambda _: int(gc.isenabled()))
    gc.disable()  # as sidecar.__main__ does
    assert cli.main(words) == collects


@pytest.mark.usefixtures("collector")
def test_garbage_is_collected_once_all_is_loaded() -> None:
    gc.disable()
    all_is_loaded()
    assert gc.isenabled()
    assert gc.get_freeze_count() > 0


@pytest.mark.parametrize("words", [[], ["dev", "--json", "--", sys.executable, "-c", ""]], ids=["stdio", "dev"])
def test_supervisor_and_guard_collect_garbage_while_they_run(words: list[str], tmp_path: Path) -> None:
    code = f"""
import gc, sys
gc.disable()  # as sidecar.__main__ does
from sidecar.runtime.loop import Runtime
def run(self):
    print("supervisor", gc.isenabled(), file=sys.stderr, flush=True)
    return 0
Runtime.run = run
if sys.platform != "win32":
    from sidecar.host.posix.guard import PosixGuard
    leave = PosixGuard._leave
    def tell(self, **more):
        print("guard", gc.isenabled(), file=sys.stderr, flush=True)
        leave(self, **more)
    PosixGuard._leave = tell
from sidecar.cli import main
sys.exit(main({words!r}))
"""
    env = {**os.environ, "SIDECAR_STATE_DIR": str(tmp_path / "state")}
    command = [sys.executable, "-c", FIND_US + code]
    done = subprocess.run(
        command, stdin=subprocess.PIPE, capture_output=True, text=True, timeout=WAIT_S, check=False, env=env
    )
    assert "supervisor True" in done.stderr
    assert sys.platform == "win32" or "guard True" in done.stderr
