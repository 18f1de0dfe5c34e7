"""``doctor --prove`` on Windows, by process handles and jobs."""
