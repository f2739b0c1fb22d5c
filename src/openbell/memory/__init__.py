"""Where a feed lives: its runtime directory, its locks, its shared-memory segments and their generations.

Nothing is re-exported: a restarted worker imports only what it needs.
"""
