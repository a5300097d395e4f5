"""Keyed tables, slabs and last-seen tables: what velocity and linkage share."""
