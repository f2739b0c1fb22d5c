"""Benchmarks of OpenBell: each states its conditions, measures its baseline in the same run, and prints the ratio."""
