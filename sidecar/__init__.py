"""A supervisor that a Tauri app ships as its sidecar: it says when a server is ready, and ends it with the app."""

__version__ = "0.1.0"
