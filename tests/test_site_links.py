"""Links between the repository's files become links of the site, and the site's menu has every page."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from build.site_links import ADDED, DOCS, page_of, site_links, source_of

ROOT = Path(__file__).resolve().parent.parent
THERE = "https://host.example/owner/name"


@pytest.mark.parametrize(
    ("page", "link", "turned"),
    [
        ("faq.md", "[it](comparison.md)", "[it](comparison.md)"),
        ("faq.md", "[it](guarantees.md#what-dies-with-what)", "[it](guarantees.md#what-dies-with-what)"),
        ("faq.md", "[it](#here)", "[it](#here)"),
        ("faq.md", "[it](../../tests/README.md#bench)", "[it](developers/tests.md#bench)"),
        ("faq.md", "[it](../CHANGELOG.md)", "[it](changelog.md)"),
        ("faq.md", "[it](../../README.md)", "[it](index.md)"),
        ("developers/tests.md", "[it](../tauri-integration/docs/faq.md#x)", "[it](../faq.md#x)"),
        ("developers/sidecar.md", "[it](host/README.md)", "[it](host.md)"),
        ("developers/security.md", "[`it`](CONTRIBUTING.md)", "[`it`](contributing.md)"),
        ("faq.md", "[it](../../build/dev.py)", f"[it]({THERE}/blob/main/build/dev.py)"),
        ("faq.md", "[it](https://vite.dev/guide)", "[it](https://vite.dev/guide)"),
        ("faq.md", "![it](pictures/tree.svg)", "![it](pictures/tree.svg)"),
        ("faq.md", "```\n[it](../CHANGELOG.md)\n```", "```\n[it](../CHANGELOG.md)\n```"),
    ],
)
def test_a_link_between_files_becomes_one_of_the_site(page: str, link: str, turned: str) -> None:
    assert site_links(link, page, THERE) == turned


def test_a_link_to_a_file_leaves_its_text_where_no_repository_is_known() -> None:
    assert site_links("see [`dev.py`](../../build/dev.py).", "faq.md", None) == "see `dev.py`."


def test_every_page_has_one_source_that_exists() -> None:
    pages = [*(path.name for path in (ROOT / DOCS).glob("*.md")), *ADDED.values()]
    for page in pages:
        assert (ROOT / source_of(page)).is_file(), page
        assert page_of(source_of(page)) == page


def test_the_menu_of_the_site_has_every_page_once() -> None:
    nav = (ROOT / "build" / "mkdocs.yml").read_text(encoding="utf-8").partition("\nnav:\n")[2]
    found = re.findall(r"(\S+\.md)$", nav, re.MULTILINE)
    pages = [*(path.name for path in (ROOT / DOCS).glob("*.md")), *ADDED.values()]
    assert sorted(found) == sorted(pages)
