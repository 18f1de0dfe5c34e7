"""``sidecar init``: puts the plugin into an existing Tauri + Vite project.

``found`` looks at the project, ``plan`` computes every edit, or the reasons why it will not; ``command`` shows and
asks, ``write`` writes. ``jsontext``, ``tomltext`` and ``rust`` edit texts so that what a person wrote stays as it is.
"""
