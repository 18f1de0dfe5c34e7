"""What the sidecar costs and how fast it kills, side by side with its peers: ``python -m tests.bench``.

An outside client: nothing here imports the sidecar. The bars are those of the design; each measure is taken in
interleaved rounds and reported as a median with its extremes, because the machine is never quiet. Linux only: it reads
``/proc`` and holds processes by pidfd.
"""
