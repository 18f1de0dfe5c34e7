"""Build the site of the documentation, and check its links: python3 build/dev.py docs.

- ``docs`` builds it into ``site/``. A dead link fails it.
- ``docs --serve`` shows it at http://127.0.0.1:8000, and builds it again after each change.
- ``docs --write`` renews the pages and pictures that scripts make.
- ``docs --look`` opens each page in headless Chromium: at desktop and phone width, light and dark. With
  ``--pictures FOLDER`` it keeps a picture of each.

mkdocs reads ``build/mkdocs.yml``. ``build/site_hooks.py`` tells it which files of the repository are pages.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
SITE = ROOT / "site"
CONFIG = ROOT / "build" / "mkdocs.yml"


def main(arguments: Sequence[str]) -> int:
    """Build, serve, renew or look at the site; return the exit code."""
    parser = argparse.ArgumentParser(prog="build/dev.py docs")
    parser.add_argument("--serve", action="store_true", help="show it, and build it again after each change")
    parser.add_argument("--write", action="store_true", help="renew the pages and pictures that scripts make")
    parser.add_argument("--look", action="store_true", help="open each page in headless Chromium")
    parser.add_argument("--pictures", type=Path, help="with --look: keep a picture of each page in this folder")
    parser.add_argument("--out", type=Path, default=SITE, help="where the site goes (default: site)")
    options = parser.parse_args(arguments)
    if options.write:
        return max(_python(ROOT / "build" / name) for name in ("reference.py", "pictures.py"))
    if options.serve:
        return _python("-m", "mkdocs", "serve", f"--config-file={CONFIG}")
    out = options.out.resolve()
    code = _python("-m", "mkdocs", "build", "--strict", "--clean", f"--config-file={CONFIG}", f"--site-dir={out}")
    if code or not options.look:
        return code
    more = {"SIDECAR_SITE_FOLDER": str(out)}
    if options.pictures:
        more["SIDECAR_SITE_PICTURES"] = str(options.pictures.resolve())
    return _python("-m", "pytest", "-q", "-ra", "tests/site", **more)


def _python(*words: str | Path, **more: str) -> int:
    """Run Python in the checkout's root; return the exit code."""
    env = {**os.environ, **more, "NO_MKDOCS_2_WARNING": "1"}  # the theme's notice of its successor
    return subprocess.run([sys.executable, *words], cwd=ROOT, env=env, check=False).returncode


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
