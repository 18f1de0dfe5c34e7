"""Set the version of all published packages: python3 build/dev.py version X.Y.Z.

sidecar/__init__.py has the version. PLACES lists the manifests and locks that repeat it, because their tools need it
there. tests/dist/test_metadata.py checks that all are equal.
"""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
INTEGRATION = Path("tauri-integration")
SOURCE = Path("sidecar", "__init__.py")

SHAPE = re.compile(r"\d+\.\d+\.\d+(?:-(?:alpha|beta|rc)\.\d+)?")
"""The form that cargo and npm take. PyPI writes 1.0.0rc1; hatchling converts it."""

_PACKAGE = r'\[package\]\n(?:.+\n)*?version = "()[^"]*'
_IN_LOCK = r'name = "tauri-plugin-sidecar"\nversion = "()[^"]*'
PLACES: tuple[tuple[Path, str], ...] = (
    (SOURCE, r'__version__ = "()[^"]*'),
    (INTEGRATION / "plugin" / "Cargo.toml", _PACKAGE),
    (INTEGRATION / "plugin" / "Cargo.lock", _IN_LOCK),
    (INTEGRATION / "plugin-build" / "Cargo.toml", _PACKAGE),
    (INTEGRATION / "plugin-build" / "Cargo.lock", r'name = "tauri-sidecar-build"\nversion = "()[^"]*'),
    (INTEGRATION / "plugin" / "package.json", r'\A\{\n  "name": .*\n  "version": "()[^"]*'),
    (INTEGRATION / "plugin" / "package-lock.json", r'"name": "tauri-plugin-sidecar-api",\n +"version": "()[^"]*'),
    (INTEGRATION / "npm" / "package.json", r'\A\{\n  "name": .*\n  "version": "()[^"]*'),
    (INTEGRATION / "npm" / "package.json", r'"@tauri-sidecar/[^"]*": "()[^"]*'),
    (INTEGRATION / "examples" / "vite-app" / "src-tauri" / "Cargo.lock", _IN_LOCK),
    (
        INTEGRATION / "examples" / "vite-app" / "package-lock.json",
        r'"\.\./\.\./plugin": \{\n +"name": "tauri-plugin-sidecar-api",\n +"version": "()[^"]*',
    ),
)
"""Each file, with a pattern for a version in it: the version begins at the group and ends with the match."""


def version(root: Path = ROOT) -> str:
    """Return the version in sidecar/__init__.py."""
    [found] = versions((root / SOURCE).read_text(encoding="utf-8"), PLACES[0][1])
    return found


def versions(text: str, pattern: str) -> list[str]:
    """Return each version that the pattern finds."""
    return [text[match.start(1) : match.end()] for match in re.finditer(pattern, text)]


def set_versions(root: Path, wanted: str) -> list[str]:
    """Write the version to every place; return one line per place. Raises ValueError for a place without a version."""
    told = []
    for path, pattern in PLACES:
        file = root / path
        text = file.read_text(encoding="utf-8")
        before = versions(text, pattern)
        if not before:
            raise ValueError(f"{path.as_posix()} has no version where it is expected: {pattern}")
        after = re.sub(pattern, lambda match: f"{match[0][: match.start(1) - match.start()]}{wanted}", text)
        file.write_text(after, encoding="utf-8", newline="\n")
        told.append(f"{path.as_posix()}: {', '.join(before)} -> {wanted}")
    return told


def main(argv: Sequence[str]) -> int:
    """Set the version, or print it."""
    parser = argparse.ArgumentParser(prog="build/dev.py version", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("version", nargs="?", metavar="X.Y.Z", help="the new version (default: print the present one)")
    wanted = parser.parse_args(argv).version
    if wanted is None:
        print(version())
        return 0
    if not SHAPE.fullmatch(wanted):
        parser.error(f"{wanted} is no version such as 1.2.3 or 1.2.3-rc.1")
    print("\n".join(set_versions(ROOT, wanted)))
    print("Now name it in tauri-integration/CHANGELOG.md.")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
