"""Erasure of a person from the state; the command that asks for it is `Kind.ERASE`."""
