"""Velocity: counts, sums, means, deviations and distincts over any window of event time."""
