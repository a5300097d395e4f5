"""Memory asked for before it is needed: where the entities of the next events stand."""
