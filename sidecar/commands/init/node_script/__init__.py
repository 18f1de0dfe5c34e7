"""Find out from its text what a node script of the project starts. Nothing is run.

A script that starts a second server must never be taken for one that starts only Vite. So only what is on a list counts
as understood. A module that is not on a list, a function that is passed on, or a computed value that matters is a
reason to leave the project alone. The result is small but certain: the programs with their arguments, and the files
that the script writes.

``read`` reads a script and the files that it imports, within the bounds of ``source_file``. ``source`` has the tokens
of one file. ``imports`` finds the names that can start a program or open a port, ``uses`` finds where they are used,
and ``calls`` reads the arguments there. The result is one ``reading``.
"""
