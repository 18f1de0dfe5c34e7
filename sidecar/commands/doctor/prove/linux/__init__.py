"""``doctor --prove`` on Linux, by pidfds, control groups and /proc."""
