"""``sidecar doctor``: report on project and machine, name the active layers, and test them with real kills.

``checks`` looks at the project, ``report`` draws the findings, ``prove`` kills for real.
"""

DOCTOR_PART = "--doctor-part"
"""Doctor starts the sidecar again with this word, as one of the processes of a trial. No help text names it."""
