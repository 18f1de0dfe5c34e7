"""The standalone view: one service in a terminal (``sidecar dev``).

``terminal`` and ``opener`` are light, because they are needed before the guard is forked; ``dev.serve`` is the entry of
the rest. ``front`` is the supervisor's one client, ``words`` says in words what happened, ``look`` makes text of it for
this terminal, ``screen`` writes it, ``status`` is the line below.
"""

OPENER_PART = "--open-pages"
"""The word that starts us as what opens pages (opener.py) where there is no fork; no help names it."""
