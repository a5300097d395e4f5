"""The gRPC front, and the supervisor of front and engine.

INVARIANT: a front keeps no state that matters and imports no numba. Called by `cli`.
"""
