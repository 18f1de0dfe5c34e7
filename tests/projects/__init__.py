"""Realistic projects, each tried with the real sidecar. setups.py describes how to write one."""
