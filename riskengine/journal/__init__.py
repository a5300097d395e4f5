"""The journal: what was asked and what was decided, in order, durable before it is answered."""
