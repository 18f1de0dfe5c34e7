"""The arguments that build/sidecar.spec gives to PyInstaller."""

from __future__ import annotations

import plistlib
import sys
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import pytest

from sidecar.commands.unpack import PROGRAM

BUILD = Path(__file__).resolve().parents[1] / "build"


def programs(monkeypatch: pytest.MonkeyPatch, platform: str, **env: str) -> list[Any]:
    """Run the spec for this platform; return its calls that make a program."""
    for name in ("APPLE_SIGNING_IDENTITY", "SIDECAR_ENTITLEMENTS", "SIDECAR_FREEZE", "SIDECAR_FREEZE_KEEP"):
        monkeypatch.delenv(name, raising=False)
    for name, value in env.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(sys, "platform", platform)
    exe = Mock()
    names: dict[str, Any] = {
        "SPECPATH": str(BUILD),
        "Analysis": Mock(return_value=Mock(scripts=[])),
        "PYZ": Mock(),
        "EXE": exe,
        "COLLECT": Mock(),
    }
    code = compile((BUILD / "sidecar.spec").read_text(encoding="utf-8"), "sidecar.spec", "exec")
    exec(code, names)  # noqa: S102  PyInstaller does the same
    return list(exe.call_args_list)


def told(monkeypatch: pytest.MonkeyPatch, platform: str, **env: str) -> dict[str, Any]:
    """Return the arguments of the last call."""
    return dict(programs(monkeypatch, platform, **env)[-1].kwargs)


@pytest.mark.parametrize(
    ("platform", "identity", "taken"),
    [
        ("darwin", "Developer ID Application: Somebody (TEAM)", "Developer ID Application: Somebody (TEAM)"),
        ("darwin", "-", None),
        ("darwin", "", None),
        ("darwin", None, None),
        ("linux", "Developer ID Application: Somebody (TEAM)", None),
    ],
)
def test_an_ad_hoc_signature_is_made_without_the_hardened_runtime(
    platform: str, identity: str | None, taken: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """PyInstaller adds it for any identity. An ad hoc signed binary could then load none of its own libraries."""
    env = {} if identity is None else {"APPLE_SIGNING_IDENTITY": identity}
    assert told(monkeypatch, platform, **env)["codesign_identity"] == taken


def test_pyinstaller_hardens_whatever_identity_is_named() -> None:
    """This is why the spec passes no ad hoc identity. If this test fails, the spec may be simplified."""
    osx = pytest.importorskip("PyInstaller.utils").__path__[0]
    source = (Path(osx) / "osx.py").read_text(encoding="utf-8")
    sign = source[source.index("def sign_binary(") :]
    condition, _, rest = sign.partition("else:")
    assert "if not identity:" in condition
    assert rest.index("--options=runtime") < rest.index("subprocess")


def test_the_entitlements_turn_off_library_validation_and_nothing_else() -> None:
    found = plistlib.loads((BUILD / "sidecar.entitlements").read_bytes())
    assert found == {"com.apple.security.cs.disable-library-validation": True}


def test_the_entitlements_that_are_named_are_used_on_macOS_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    assert told(monkeypatch, "darwin", SIDECAR_ENTITLEMENTS="/x")["entitlements_file"] == "/x"
    assert told(monkeypatch, "linux", SIDECAR_ENTITLEMENTS="/x")["entitlements_file"] is None


@pytest.mark.parametrize(
    ("platform", "kind", "names"),
    [
        ("linux", "file", ["sidecar"]),
        ("linux", "both", ["folder-program", "sidecar"]),
        ("darwin", "file", ["folder-program", "sidecar"]),
        ("darwin", "folder", ["sidecar"]),
    ],
)
def test_the_one_file_of_macOS_has_the_program_of_a_folder_in_it(
    platform: str, kind: str, names: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    made = programs(monkeypatch, platform, SIDECAR_FREEZE=kind, APPLE_SIGNING_IDENTITY="Somebody")
    assert [call.kwargs["name"] for call in made] == names
    identity = "Somebody" if platform == "darwin" else None
    assert {call.kwargs["codesign_identity"] for call in made} == {identity}
    inside = [entry for part in made[-1].args if isinstance(part, list) for entry in part]
    assert any(entry[0] == PROGRAM for entry in inside) == (len(made) == 2)
