"""Socket to rings: connections, their life, and what is done with messages that no route takes."""
