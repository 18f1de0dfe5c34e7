"""What is on disk between runs: records of runs, log files, and atomic writes."""
