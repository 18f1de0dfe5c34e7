"""``sidecar doctor``: report on project and machine, name the active layers, and prove them by real kills.

``checks`` looks at the project, ``report`` draws the findings, ``prove`` kills for real.
"""

DOCTOR_PART = "--doctor-part"
"""Doctor starts the sidecar again with this word, to play a part. No help text names it."""
