"""The protocol: bytes ↔ bounded lines ↔ typed messages. Pure: this opens, reads and times nothing."""
