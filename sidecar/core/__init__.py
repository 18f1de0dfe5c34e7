"""The supervisor's mind: one event and the time in, effects out. Pure."""
