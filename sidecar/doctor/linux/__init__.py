"""Linux: pidfds, control groups and /proc."""
