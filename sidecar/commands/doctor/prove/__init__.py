"""``sidecar doctor --prove``: kill the sidecar of a stand-in app while it runs hostile trees, and count survivors.

``trials`` runs the trials and ``harness`` holds a trial's stand-in app. ``roles`` is the code of that app and its
trees. ``linux`` and ``windows`` say what to kill, and find out which processes live.
"""
