"""The follower: a process that folds the journal behind the engine, and keeps what need not be kept by the engine itself.

It writes snapshots and the decision store, and trims the journal by its retention. Scoring never waits for it: it reads what the
engine has written, at a lower priority, and its end stops nothing.
"""
