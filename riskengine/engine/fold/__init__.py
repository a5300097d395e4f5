"""The fold: what an event changes in the state, and what it is told of it."""
