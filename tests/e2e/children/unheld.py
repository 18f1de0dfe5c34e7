"""The sidecar with the kernel's parent-death signal left out, to see what holds without it: ``unheld.py … sidecar WORD…``.

So it is where a program between us and node has no such signal, and on systems that know none.
"""

from __future__ import annotations

import sys

from sidecar.cli import main
from sidecar.host import linux

linux._death_with_parent = lambda _parent: lambda: None
sys.exit(main(sys.argv[sys.argv.index("sidecar") + 1 :]))
