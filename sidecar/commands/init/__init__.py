"""``sidecar init``: put the plugin into an existing Tauri project with a dev server.

``detect`` reads the project, and ``dev_command`` its ``beforeDevCommand``. ``node_script`` and ``javascript`` read the
scripts that this command runs; ``obsolete`` finds code that is no longer needed without them. ``plan`` computes every
edit, or the reasons against editing. ``command`` shows the edits and asks, and ``write`` writes them. ``edit`` changes
texts and keeps everything else as it was.
"""
