"""``sidecar init``: puts the plugin into an existing Tauri project with a dev server.

``found`` looks at the project, ``devcommand`` at its ``beforeDevCommand`` (``nodescript`` and ``javascript`` read the
scripts that it runs), ``leftover`` at what these leave behind. ``plan`` computes every edit, or the reasons why it will
not; ``command`` shows and asks, ``write`` writes. ``jsontext``, ``tomltext`` and ``rust`` edit texts so that what a
person wrote stays as it is.
"""
