"""The decoder, its training and its samples."""
