"""Ring to snapshot: the process that applies records."""
