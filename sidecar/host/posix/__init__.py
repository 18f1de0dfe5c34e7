"""What the hosts of Linux and macOS share: guard, keeper, lifeline, and the start of a program."""
