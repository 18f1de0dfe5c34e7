"""macOS: a guard that follows forks by kqueue."""
