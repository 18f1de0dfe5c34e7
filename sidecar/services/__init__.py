"""What a service needs before it runs: which dev server a project has, and how that is started."""
