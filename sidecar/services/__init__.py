"""What a service needs before it can run."""
