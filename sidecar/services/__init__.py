"""What a service needs before and while it runs: its program, its port, its probe."""
