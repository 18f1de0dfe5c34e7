"""One run: threads put events into an inbox. One loop takes them out and performs the effects."""
