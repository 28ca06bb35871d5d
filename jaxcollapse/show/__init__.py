"""Results as figures, tables and files for people."""
