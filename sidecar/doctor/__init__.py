"""``sidecar doctor``: what this machine has, what the sidecar can guarantee on it, and a proof by doing it.

checks.py looks at the project, layers.py at the layers of the kill, prove.py kills for real: a stand-in app's sidecar
with hostile trees (parts.py), while roll.py counts who lives.
"""

DOCTOR_PART = "--doctor-part"
"""The word that doctor starts us again with, to play a part; no help names it."""
