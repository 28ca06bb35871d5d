"""How fast a device runs chains, and how near that comes to what the device can do."""
