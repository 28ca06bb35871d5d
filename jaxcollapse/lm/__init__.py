"""Decoders, their named configurations, their weights and their sampler."""
