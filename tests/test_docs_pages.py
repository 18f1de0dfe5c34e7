"""How errors name pages of the documentation. test_readme.py checks that each error has its section."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from sidecar import diagnostics
from sidecar.diagnostics import TITLES, docs

DOCS = Path(__file__).resolve().parent.parent / "tauri-integration" / "docs"


def test_a_checkout_names_the_file() -> None:
    assert docs("errors", "PortUnavailable") == f"Docs: {DOCS / 'errors.md'}#portunavailable"


def test_a_package_that_was_built_for_a_site_names_the_address(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(diagnostics, "_PACKAGE", str(tmp_path))
    (tmp_path / diagnostics.ADDRESS_FILE).write_text("https://example.com/docs/\n", encoding="utf-8")
    monkeypatch.setattr(diagnostics, "_ADDRESS", diagnostics.read_address())
    assert docs("errors", "PortUnavailable") == "Docs: https://example.com/docs/errors/#portunavailable"
    assert docs("exit-codes") == "Docs: https://example.com/docs/exit-codes/"


def test_any_other_package_names_the_title(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(diagnostics, "_PACKAGE", str(tmp_path))
    monkeypatch.setattr(diagnostics, "_ADDRESS", diagnostics.read_address())
    assert docs("errors", "PortUnavailable") == "Docs: Errors by code, PortUnavailable"
    assert docs("exit-codes") == "Docs: Exit codes"


@pytest.mark.parametrize("page", TITLES)
def test_each_page_that_is_named_is_there_under_its_title(page: str) -> None:
    [title] = re.findall(r"\A# (.+)$", (DOCS / f"{page}.md").read_text(encoding="utf-8"), re.MULTILINE)
    assert title == TITLES[page]
