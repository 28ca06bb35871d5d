"""Families of decoders, by name."""
