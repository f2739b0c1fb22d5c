"""Instruments: what every process counts in the control segment, and how anybody reads it."""
