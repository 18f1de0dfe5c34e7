"""The check with the newest alpha of Tauri 3."""

from __future__ import annotations

import tomllib

import pytest

from build import tauri3


def test_the_check_with_tauri_3_asks_for_it_everywhere() -> None:
    text = (tauri3.PLUGIN / "Cargo.toml").read_text(encoding="utf-8")
    manifest = tomllib.loads(tauri3.ask_for_next(text))
    asked = [manifest[kind]["tauri"] for kind in ("dependencies", "dev-dependencies")]
    asked.append(manifest["build-dependencies"]["tauri-plugin"])
    assert [it["version"] for it in asked] == [tauri3.NEXT] * 3
    with pytest.raises(ValueError, match="does not require tauri"):
        tauri3.ask_for_next("[dependencies]\ntauri.workspace = true\n")
