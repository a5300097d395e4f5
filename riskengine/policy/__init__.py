"""The analysts' ground: lists, rules and thresholds, compiled from YAML and applied to batches."""
