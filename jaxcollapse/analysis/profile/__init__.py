"""Whether a result collapses, by each of the eight definitions that the field uses."""
