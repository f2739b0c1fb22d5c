"""What the exit status of every command means."""

OK = 0
FAILED = 1
"""The work or the check failed: a lost tick, a feed that is not there, no space."""
USAGE = 2
"""The command line or the configuration is wrong."""
INTERRUPTED = 130
"""Ended by SIGINT or SIGTERM before its work was done. What has no end of its own, as a running feed, ends by OK."""
