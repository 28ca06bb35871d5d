"""Real data to start a chain from."""
