"""Edit texts, and keep everything else as a person wrote it."""
