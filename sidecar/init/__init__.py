"""``sidecar init``: puts the plugin into an existing Tauri + Vite project.

``plan`` looks at the project and computes every edit, or the reasons why it will not; ``command`` shows, asks and
writes. ``jsontext``, ``tomltext`` and ``rust`` edit texts by spans, so that what a person wrote stays as it was written.
"""
