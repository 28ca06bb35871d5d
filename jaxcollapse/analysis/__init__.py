"""Does the number or the share of real data matter? One fit to a mixture, over a grid of counts."""
