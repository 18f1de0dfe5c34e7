"""A stand-in for a PyInstaller one-file program: it unpacks a folder, starts its program, and waits for it.

When the program ends, it removes the folder, as the real bootloader does. If it is killed, the folder stays. Both
processes ignore SIGTERM. An argument replaces the folder's path in the program's environment.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import tempfile

PROGRAM = "import sys, time; print('unpacked into', sys.argv[1], flush=True); time.sleep(100)"

signal.signal(signal.SIGTERM, signal.SIG_IGN)  # which the program inherits
folder = tempfile.mkdtemp(prefix="_MEI")
os.mkdir(os.path.join(folder, "lib"))
with open(os.path.join(folder, "lib", "library"), "w", encoding="utf-8"):
    pass
told = sys.argv[1] if sys.argv[1:] else folder
program = [sys.executable, "-I", "-S", "-c", PROGRAM, folder]
code = subprocess.run(program, env={**os.environ, "_PYI_APPLICATION_HOME_DIR": told}, check=False).returncode
shutil.rmtree(folder)
sys.exit(code)
