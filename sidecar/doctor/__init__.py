"""``sidecar doctor``: what this machine has, what the sidecar can guarantee on it, and a proof by doing it.

checks.py looks at the project, prove.py kills for real: a stand-in app's sidecar with hostile trees. ground.py is what
a platform has to give for that; linux/ and windows/ each have a ground of their own: its trees, and a roll that counts
who lives.
"""

DOCTOR_PART = "--doctor-part"
"""The word that doctor starts us again with, to play a part; no help names it."""
