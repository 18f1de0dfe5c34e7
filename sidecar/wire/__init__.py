"""The protocol: bytes ↔ bounded lines ↔ typed messages. Pure: nothing is opened, read or timed here."""
