"""Edit texts, and keep everything else as it was."""
