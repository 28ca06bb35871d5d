"""Real text, and its tokens."""
