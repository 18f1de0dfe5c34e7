"""Windows: job objects, which the system ends when their last handle closes."""
