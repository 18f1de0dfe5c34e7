"""Make the binary that an app ships: python3 build/dev.py freeze.

PyInstaller reads build/sidecar.spec. Two builds of one commit by one Python have the same bytes: the clock, the
checkout's path and the seed of hashing have no influence. Other files that PyInstaller writes are deleted.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Literal, TypeAlias

Kind: TypeAlias = Literal["file", "folder", "both"]
"""``both`` is one file that can turn itself into the folder."""

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))  # Wine's Python has our libraries, but not this project: many checkouts share it

from sidecar.commands.init.binary import own_tuple  # noqa: E402  see above
from sidecar.diagnostics import ADDRESS_FILE  # noqa: E402  see above
from sidecar.host.machine import EXECUTABLE_SUFFIX  # noqa: E402  see above

SPEC = ROOT / "build" / "sidecar.spec"
BINARIES = ROOT / "tauri-integration" / "examples" / "vite-app" / "src-tauri" / "binaries"
"""The folder where ``externalBin: ["binaries/sidecar"]`` looks for it."""

SITE = "SIDECAR_SITE"
"""The variable with the address of the documentation's site, where one is published: errors name its pages."""

EPOCH = "1767225600"
"""The time in all archives: 2026-01-01."""


def main(argv: Sequence[str]) -> int:
    """Freeze, and put the result where an app looks for it."""
    parser = argparse.ArgumentParser(prog="build/dev.py freeze", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--folder", action="store_true", help="a folder, which starts at once, instead of one file")
    parser.add_argument(
        "--with-folder", action="store_true", help="one file that sidecar unpack turns into a folder; on macOS always"
    )
    parser.add_argument("--out", type=Path, default=BINARIES, help="where to put it (default: the example's binaries/)")
    parser.add_argument(
        "--keep",
        action="append",
        default=[],
        metavar="GROUP",
        help="keep a group of build/left-out.toml, or the symbols, to measure what leaving it out gives; repeatable",
    )
    options = parser.parse_args(argv)
    options.out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="sidecar-freeze-") as temporary:
        kind: Kind = "folder" if options.folder else "both" if options.with_folder else "file"
        made = freeze(Path(temporary), kind, keep=options.keep)
        target = options.out / (f"sidecar-{own_tuple()}" + ("-folder" if options.folder else made.suffix))
        # write beside it, then rename: a running binary cannot be overwritten
        fresh = target.with_name(f"{target.name}.fresh")
        if options.folder:
            shutil.rmtree(target, ignore_errors=True)
            shutil.copytree(made, fresh)
        else:
            shutil.copy2(made, fresh)
        fresh.replace(target)
    size = sum(file.stat().st_size for file in (target.rglob("*") if options.folder else [target]) if file.is_file())
    print(f"{target}: {size / 1e6:.1f} MB")
    return 0


def freeze(work: Path, kind: Kind, *, keep: Sequence[str] = ()) -> Path:
    """Run PyInstaller in ``work``; return what it made. Raises ``SystemExit`` with its last lines if it failed."""
    command = [sys.executable, "-m", "PyInstaller", "--clean", "--noconfirm", "--log-level=WARN"]
    command += ["--workpath", str(work / "work"), "--distpath", str(work / "dist"), str(SPEC)]
    env = {**os.environ, "PYTHONHASHSEED": "0", "SOURCE_DATE_EPOCH": EPOCH}
    # else two freezes at once would share the user's cache of stripped libraries, and each empties it
    env["PYINSTALLER_CONFIG_DIR"] = str(work / "cache")
    env["SIDECAR_FREEZE"] = kind
    env["SIDECAR_FREEZE_KEEP"] = " ".join(keep)
    if site := os.environ.get(SITE):
        address = work / ADDRESS_FILE
        address.write_text(site, encoding="utf-8", newline="\n")
        env["SIDECAR_FREEZE_ADDRESS"] = str(address)
    done = subprocess.run(command, cwd=work, env=env, text=True, capture_output=True, check=False)
    if done.returncode != 0:
        print(done.stderr[-4000:])
        raise SystemExit("PyInstaller failed; its last lines are above")
    name = "sidecar" if kind == "folder" else f"sidecar{EXECUTABLE_SUFFIX}"
    return work / "dist" / name


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
