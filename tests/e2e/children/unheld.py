"""Run the sidecar without the kernel's parent-death signal: ``unheld.py … sidecar WORD…``.

It stands for systems without that signal, and for a program between the supervisor and node.
"""

from __future__ import annotations

import sys

if sys.platform != "linux":
    raise ImportError("the parent-death signal is Linux's")

from sidecar.cli import main
from sidecar.host.linux import host as linux

linux._death_with_parent = lambda parent: lambda: None
sys.exit(main(sys.argv[sys.argv.index("sidecar") + 1 :]))
