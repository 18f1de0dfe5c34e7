"""The hooks that mkdocs calls while it builds the site. build/site_links.py has the rules."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
if str(ROOT) not in sys.path:
    sys.path.insert(0, str(ROOT))

from build.site_links import ADDED, site_links  # noqa: E402  mkdocs loads this file by its path


def on_files(files: Any, *, config: Any) -> Any:
    """Add the pages from other folders of the repository."""
    from mkdocs.structure.files import File  # type: ignore[import-not-found]  # noqa: PLC0415  only mkdocs has it

    for source, page in ADDED.items():
        files.append(File.generated(config, page, abs_src_path=str(ROOT / source)))
    return files


def on_page_markdown(markdown: str, *, page: Any, config: Any, files: Any) -> str:  # noqa: ARG001  mkdocs passes it
    """Turn the links between files into links of the site."""
    return site_links(markdown, page.file.src_uri, config.repo_url or None)
