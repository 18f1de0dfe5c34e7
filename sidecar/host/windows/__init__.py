"""Windows: jobs."""
