"""Windows: process handles and jobs."""
