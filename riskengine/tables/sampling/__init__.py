"""Last-seen tables: which entities were seen with which."""
