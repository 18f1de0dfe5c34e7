"""What a ``beforeDevCommand`` does: it starts one dev server and nothing else, it surely starts no server, or neither.

A second dev server beside the service's would be the stray process that the sidecar exists to end. So a command passes
for one that starts no server only if its program is on a list, or if the text of its node script starts nothing.
Everything else is unclear, with a reason. A command is followed through the scripts of package.json, the packages of a
workspace, ``concurrently`` and its like, and the text of a node script (``node_script``).

A line runs programs, a program may run a script, and a script is a line again. Only ``understand`` recurs. All other
modules take words apart and return what these run as a value:

- ``shell``: a line of the shell, its commands and their variables
- ``package_manager``, ``several``, ``runtimes``: the words of npm, ``concurrently``, node and their like
- ``spawned``: the programs that a node script starts
- ``programs``: the lists of programs that are known
- ``workspace``: the package that a command runs in
- ``meaning``: the three answers
"""
