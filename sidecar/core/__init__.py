"""The supervisor's decisions: it takes an event and the time, and returns effects. Pure."""
