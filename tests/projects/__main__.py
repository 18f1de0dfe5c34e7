"""Try the set-ups, and print a table: python3 build/dev.py projects [NAME ...]."""

from __future__ import annotations

import argparse
import fnmatch
import sys

if sys.platform != "linux":
    raise SystemExit("The projects are tried on Linux only.")

from tests.projects.setups import load, shortened
from tests.projects.tries import Result, attempts, missing, possible
from tests.support.command import BINARY

WIDTH = 56


def main() -> int:
    """Try the set-ups that the command line names."""
    parser = argparse.ArgumentParser(prog="build/dev.py projects")
    parser.add_argument("names", nargs="*", metavar="NAME", help="only these, as in: base 'https*' (default: all)")
    parser.add_argument("--list", action="store_true", help="only list them")
    parser.add_argument(
        "--wait", type=float, metavar="SECONDS", help="how long to wait for each expected event (default: 20)"
    )
    parser.add_argument("--quiet", action="store_true", help="leave out why a set-up failed")
    options = parser.parse_args()
    setups = possible(load())
    chosen = {
        name: (shortened(setup, options.wait) if options.wait else setup, source)
        for name, (setup, source) in setups.items()
        if not options.names or any(fnmatch.fnmatch(name, pattern) for pattern in options.names)
    }
    if options.list:
        for name, (setup, _) in chosen.items():
            print(f"{name:<24}  {setup.what}: {setup.expect}")
        return 0
    if why := missing():
        print(f"Nothing can be tried: {why}.")
        return 3
    print(f"{len(chosen)} projects, tried on {BINARY or 'the source'}")
    print(f"{'set-up':<24}  {'what is expected':<{WIDTH}}  result      ms")
    results: list[Result] = []
    with attempts(chosen) as futures:
        for future in futures.values():
            result = future.result()
            results.append(result)
            told = "ok" if not result.fault else "FAILED"
            expected = f"{result.setup.what}: {result.setup.expect}"
            print(f"{result.name:<24}  {expected[:WIDTH]:<{WIDTH}}  {told:<6}  {result.ms:>6}", flush=True)
    failed = [result for result in results if result.fault]
    for result in [] if options.quiet else failed:
        print(f"\n{result.name} ({result.setup.what}: {result.setup.expect})\n{result.fault}")
    print(f"\n{len(results) - len(failed)} passed, {len(failed)} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
