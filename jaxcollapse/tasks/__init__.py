"""The tasks that need no extra: a folder each, which do not know one another."""
