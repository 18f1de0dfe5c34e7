"""``sidecar doctor --prove``: kill the sidecar of a stand-in app while it runs hostile trees, and count survivors.

``trials`` makes each trial and ``harness`` holds its stand-in app. ``roles`` is the code of that app and its trees.
``linux`` and ``windows`` say what to kill, and which processes live.
"""
