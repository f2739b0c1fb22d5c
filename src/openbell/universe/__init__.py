"""Which symbols a source asks for: lists are fetched, read, narrowed and spelled here, and read again on a schedule."""
