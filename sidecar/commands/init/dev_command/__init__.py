"""Find out what a ``beforeDevCommand`` does: it starts exactly one dev server, surely no server, or is unclear.

A second dev server beside the service's would be the kind of stray process that the sidecar exists to end. So a command
counts as starting no server only if its program is on a list, or if the text of its node script starts nothing.
Everything else is unclear, with a reason. A command is followed through the scripts of package.json, the packages of a
workspace, runners such as ``concurrently``, and the text of a node script (``node_script``).

A line runs programs, a program may run a script, and a script is a line again. Only ``understand`` recurses. All other
modules parse words and return what these run as a value:

- ``shell``: a line of the shell, its commands and their variables
- ``package_manager``, ``several``, ``runtimes``: the words of npm, ``concurrently``, node and similar programs
- ``spawned``: the programs that a node script starts
- ``programs``: the lists of known programs
- ``workspace``: the package that a command runs in
- ``meaning``: the three answers
"""
