"""The engine: one deterministic state machine over batches of commands, its process, and its link to the fronts."""
