"""``sidecar init``: put the plugin into an existing Tauri project with a dev server.

``detect`` looks at the project, and ``dev_command`` at its ``beforeDevCommand``. ``node_script`` and ``javascript``
read the scripts that this runs; ``obsolete`` finds the code that they leave behind. ``plan`` computes every edit, or
the reasons against editing. ``command`` shows the edits and asks, and ``write`` writes them. ``edit`` changes texts and
keeps everything else as a person wrote it.
"""
