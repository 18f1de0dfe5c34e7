"""A Tauri project: where it is, what its configuration says, and what ``plugins.sidecar`` in it asks for."""
