"""Grids of chains and of mixtures: planned, compiled, run, labelled."""
