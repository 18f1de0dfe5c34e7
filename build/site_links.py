"""Turn links between a repository's files into links of the site. Pure, so that tests need no mkdocs.

The pages of ``tauri-integration/docs`` are the site's own. ``ELSEWHERE`` names the pages that the site takes from other
folders. A link to any other file leads to the repository if its address is known; else only its text stays.
"""

from __future__ import annotations

import posixpath
import re

DOCS = "tauri-integration/docs"
ELSEWHERE = {
    "README.md": "index.md",
    ".github/CONTRIBUTING.md": "developers/contributing.md",
    ".github/SECURITY.md": "developers/security.md",
    "build/README.md": "developers/build.md",
    "sidecar/README.md": "developers/sidecar.md",
    "sidecar/host/README.md": "developers/host.md",
    "tauri-integration/CHANGELOG.md": "changelog.md",
    "tauri-integration/README.md": "developers/plugin.md",
    "tests/README.md": "developers/tests.md",
}
"""A file of the repository → the page of the site. The README has none: links to it lead to the site's first page."""
ADDED = {source: page for source, page in ELSEWHERE.items() if source != "README.md"}
"""The files that become pages of the site."""

_LINK = re.compile(r"(?<!!)\[(?P<text>(?:[^\[\]]|\[[^\]]*\])*)\]\((?P<target>[^)\s]+)\)")
_CODE = re.compile(r"^(?P<indent> *)```.*?^(?P=indent)```[^\S\n]*$|`[^`\n]*`", re.MULTILINE | re.DOTALL)


def source_of(page: str) -> str:
    """Return the file of the repository that a page of the site comes from."""
    return next((source for source, each in ADDED.items() if each == page), f"{DOCS}/{page}")


def page_of(source: str) -> str | None:
    """Return the page of the site that a file of the repository becomes; ``None`` if there is none."""
    if source in ELSEWHERE:
        return ELSEWHERE[source]
    inside = source.removeprefix(f"{DOCS}/")
    return inside if inside != source else None


def site_links(markdown: str, page: str, repository: str | None) -> str:
    """Return the page's text, with all links turned into links of the site."""
    source = source_of(page)

    def turned(link: re.Match[str]) -> str:
        text, target = link["text"], link["target"]
        path, hash_, anchor = target.partition("#")
        if "://" in target or target.startswith("mailto:") or not path:
            return link[0]
        file = posixpath.normpath(posixpath.join(posixpath.dirname(source), path))
        there = page_of(file)
        if there is not None:
            return f"[{text}]({posixpath.relpath(there, posixpath.dirname(page) or '.')}{hash_}{anchor})"
        return f"[{text}]({repository}/blob/main/{file}{hash_}{anchor})" if repository else text

    parts: list[str] = []
    end = 0
    for code in _CODE.finditer(markdown):
        # leave out blocks of code, but not code in a line: a link's text may have some
        if code[0].lstrip().startswith("```"):
            parts += [_LINK.sub(turned, markdown[end : code.start()]), code[0]]
            end = code.end()
    return "".join([*parts, _LINK.sub(turned, markdown[end:])])
