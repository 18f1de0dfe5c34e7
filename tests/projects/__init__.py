"""Projects that people have, each tried on the real sidecar: see setups.py for how one is written."""
