"""``python -m sidecar`` is the same as the ``sidecar`` command."""

import gc
import sys

if __name__ == "__main__":
    gc.disable()  # see ``sidecar.cli._run``
    from sidecar.cli import main

    sys.exit(main())
