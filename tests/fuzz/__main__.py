"""Test the properties of tests/fuzz on new examples: ``python3 build/dev.py fuzz [--minutes N] [--seed S]``.

It runs rounds with different seeds until the time is over. A failed round ends the run, and prints the example and the
command that finds it again.
"""

from __future__ import annotations

import argparse
import os
import secrets
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
EXAMPLES = "SIDECAR_FUZZ_EXAMPLES"


def main() -> int:
    """Run rounds; return the exit code."""
    parser = argparse.ArgumentParser(prog="build/dev.py fuzz", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--minutes", type=float, default=10, help="how long to go on; the default is 10")
    parser.add_argument("--examples", type=int, default=500, help="how many of each property in a round")
    parser.add_argument("--seed", type=int, help="run one round with this seed")
    parser.add_argument("-k", dest="only", default="", help="only the properties whose names have this, as in pytest")
    options = parser.parse_args()
    end = time.monotonic() + 60 * options.minutes
    rounds = 0
    while rounds == 0 or (options.seed is None and time.monotonic() < end):
        seed = secrets.randbelow(1 << 32) if options.seed is None else options.seed
        rounds += 1
        print(f"round {rounds}, seed {seed}", flush=True)
        if code := play(seed, options.examples, options.only):
            again = f"python3 build/dev.py fuzz --seed {seed} --examples {options.examples}"
            print(f"\nRun it again: {again}{f' -k {options.only!r}' if options.only else ''}")
            return code
    print(f"{rounds} rounds of {options.examples} examples each, and nothing was found")
    return 0


def play(seed: int, examples: int, only: str) -> int:
    """Run one round; return pytest's exit code."""
    command = [sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", "--timeout=0", "--tb=short"]
    command += [f"--hypothesis-seed={seed}", str(ROOT / "tests" / "fuzz"), *(["-k", only] if only else [])]
    env = {**os.environ, EXAMPLES: str(examples)}
    return subprocess.run(command, cwd=ROOT, env=env, check=False).returncode


if __name__ == "__main__":
    sys.exit(main())
