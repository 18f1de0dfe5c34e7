"""Makes the binary that an app ships: python3 build/dev.py freeze.

PyInstaller reads build/sidecar.spec. Two builds of one commit by one Python are the same bytes: nothing of the clock,
of the checkout's path or of the seed of hashing goes in. What PyInstaller writes besides is thrown away.
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

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))  # Wine's Python has our libraries, but not this project, of which there may be many

from sidecar.init.binary import host_tuple  # noqa: E402  see above

SPEC = ROOT / "build" / "sidecar.spec"
BINARIES = ROOT / "tauri-integration" / "examples" / "vite-app" / "src-tauri" / "binaries"
"""Where ``externalBin: ["binaries/sidecar"]`` looks for it."""

EPOCH = "1767225600"
"""The time that all archives carry: 2026-01-01."""


def main(argv: Sequence[str]) -> int:
    """Freeze, and put the result where an app looks for it."""
    parser = argparse.ArgumentParser(prog="build/dev.py freeze", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--folder", action="store_true", help="a folder that starts at once, instead of one file")
    parser.add_argument("--out", type=Path, default=BINARIES, help="where to put it (default: the example's binaries/)")
    parser.add_argument(
        "--keep",
        action="append",
        default=[],
        metavar="GROUP",
        help="leave a group of build/left-out.toml in, or the symbols: to measure what its absence gives; repeatable",
    )
    options = parser.parse_args(argv)
    options.out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="sidecar-freeze-") as temporary:
        made = freeze(Path(temporary), one_folder=options.folder, keep=options.keep)
        target = options.out / (f"sidecar-{host_tuple()}" + ("-folder" if options.folder else made.suffix))
        # beside it first, and renamed: one that runs at this moment cannot be written to
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


def freeze(work: Path, *, one_folder: bool, keep: Sequence[str] = ()) -> Path:
    """Run PyInstaller in ``work``; what it made. Raises ``SystemExit`` with its last lines if it failed."""
    command = [sys.executable, "-m", "PyInstaller", "--clean", "--noconfirm", "--log-level=WARN"]
    command += ["--workpath", str(work / "work"), "--distpath", str(work / "dist"), str(SPEC)]
    env = {**os.environ, "PYTHONHASHSEED": "0", "SOURCE_DATE_EPOCH": EPOCH}
    # else two freezes at once share the user's cache of stripped libraries, and each empties it
    env["PYINSTALLER_CONFIG_DIR"] = str(work / "cache")
    env["SIDECAR_FREEZE"] = "folder" if one_folder else "file"
    env["SIDECAR_FREEZE_KEEP"] = " ".join(keep)
    done = subprocess.run(command, cwd=work, env=env, text=True, capture_output=True, check=False)
    if done.returncode != 0:
        print(done.stderr[-4000:])
        raise SystemExit("PyInstaller failed; its last lines are above")
    name = "sidecar.exe" if sys.platform == "win32" and not one_folder else "sidecar"
    return work / "dist" / name


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
