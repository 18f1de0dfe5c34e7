"""A supervisor that a Tauri app ships as its sidecar: servers that are ready when we say so, gone when the app is."""

__version__ = "0.1.0"
