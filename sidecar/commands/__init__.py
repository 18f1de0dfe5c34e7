"""The commands. Each has its own file or folder."""
