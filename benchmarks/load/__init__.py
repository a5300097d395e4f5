"""The full server against an empty echo."""
