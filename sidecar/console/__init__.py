"""The standalone view: one service in a terminal (``sidecar dev``).

``terminal`` and ``opener`` are light, because they are needed before the guard is forked; ``serve`` is the rest's entry.
"""
