"""Faults: processes killed at every store, and what must still be true afterwards."""
