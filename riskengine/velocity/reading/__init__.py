"""What velocity answers of its curves."""
