"""What a node script of the project starts, read from its text. Nothing is run.

A script that starts a second server must never pass for one that starts only Vite. So only what is on a list counts
as understood. A module that is on no list, a function that is passed on, a computed value that matters: each is a
reason to leave the project alone. The result is small and sure: the programs with their arguments, and the files that
the script writes.

``read`` reads a script and the files that it imports, within the bounds of ``source_file``. ``source`` has the tokens
of one file. ``imports`` finds the names that can start a program or open a port, ``uses`` finds where they are used,
and ``calls`` reads the arguments there. The result is one ``reading``.
"""
