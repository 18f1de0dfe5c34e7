"""A Tauri project: its folder, its configuration, and the services of ``plugins.sidecar``."""
