"""``sidecar dev``: services in a terminal or a pipe.

``opener`` imports little, because it runs before the guard is forked. ``serve`` is the entry of the rest. ``client`` is
the supervisor's one client. ``view`` shows what the client hears, and ``status_line`` draws the lines below.
"""

OPENER_PART = "--open-pages"
"""Starts the sidecar as the opener of pages (opener.py) where there is no fork. No help text names this word."""
