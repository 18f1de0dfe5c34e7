"""Measure the sidecar's costs and its speed of killing beside its peers: ``python -m tests.bench``.

The bench is an outside client: it does not import the sidecar. The bars come from the design. Rounds are interleaved,
and a result is a median with its extremes, because a machine is never quiet. It runs on Linux only, as it needs
``/proc`` and pidfds.
"""
