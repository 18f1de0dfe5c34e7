"""The sidecar with the kernel's parent-death signal left out: ``unheld.py … sidecar WORD…``.

So it is on systems that know no such signal, and where a program stands between us and node.
"""

from __future__ import annotations

import sys

if sys.platform != "linux":
    raise ImportError("there is no such signal to be left out")

from sidecar.cli import main
from sidecar.host.linux import host as linux

linux._death_with_parent = lambda parent: lambda: None
sys.exit(main(sys.argv[sys.argv.index("sidecar") + 1 :]))
