"""The English of the pages for users: short sentences, without words that make a reader stop."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PAGES = (
    ROOT / "README.md",
    ROOT / ".github" / "CONTRIBUTING.md",
    ROOT / "tauri-integration" / "README.md",
    *sorted((ROOT / "tauri-integration" / "docs").glob("*.md")),
)
WORDS_MOST = 34
"""Most words in a sentence. Split a longer one."""
BANNED = re.compile(r"\b(whom|of which|nobody|whoever|whereby|thereby|simply|obviously)\b", re.IGNORECASE)


def named(page: Path) -> str:
    return page.relative_to(ROOT).as_posix()


def sentences(text: str) -> Iterator[str]:
    """Yield the sentences of a page, without code blocks, tables and headings. Inline code counts as one word."""
    text = re.sub(r"^ *```.*?^ *```$|<!--.*?-->|^\|.*?$|^#+ .*?$", "", text, flags=re.MULTILINE | re.DOTALL)
    text = re.sub(r"!?\[((?:[^\[\]]|\[[^\]]*\])*)\]\([^)]*\)", r"\1", re.sub(r"`[^`]*`", "code", text))
    for paragraph in re.split(r"\n\s*\n|\n(?=\s*(?:-|\d+\.) )", text):
        yield from re.split(r"(?<=[.!?:])\*{0,2}\s+", " ".join(paragraph.split()))


@pytest.mark.parametrize("page", PAGES, ids=named)
def test_no_sentence_of_a_page_has_to_be_read_twice(page: Path) -> None:
    found = list(sentences(page.read_text(encoding="utf-8")))
    assert [it for it in found if len(re.findall(r"[\w'’]+", it)) > WORDS_MOST] == []
    assert [it for it in found if BANNED.search(it)] == []


def test_sentences_are_told_apart_and_code_is_one_word() -> None:
    text = "# A heading\n\nOne `two three`. [Four](five.md)\nsix.\n\n- **Seven.** Eight\n- nine\n\n| a | b |\n"
    assert list(filter(None, sentences(text))) == ["One code.", "Four six.", "- **Seven.", "Eight", "- nine"]
