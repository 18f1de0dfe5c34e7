"""Linux: a guard and a subreaper, pidfds, control groups, /proc."""
