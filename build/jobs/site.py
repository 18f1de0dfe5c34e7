"""The job that builds the site of the documentation."""

from __future__ import annotations

from collections.abc import Sequence

from build.jobs.needs import BROWSER, ensure_tool, ready
from build.jobs.paths import BUILD, DOCS_LOCK, PYTHON
from build.jobs.tools import become


def docs(arguments: Sequence[str]) -> int:
    """Build the site of the documentation into site/, and check its links.

    Arguments go to build/docs.py: --serve shows it, --write renews what scripts make, --look opens it in Chromium.
    """
    env = ready()
    env["PYTHONPATH"] = str(ensure_tool("docs", DOCS_LOCK))
    if "--look" in arguments:
        BROWSER.ensure(env, "a look at each page")
    become([PYTHON, BUILD / "docs.py", *arguments], env)
