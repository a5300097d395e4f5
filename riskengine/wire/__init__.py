"""Where protobuf ends: requests become rows of EVENT, rows of DECISION become replies, errors become statuses.

INVARIANTS: nothing behind this package sees a protobuf message or a raw identifier; nothing in front of it sees a row;
no error text made here repeats a value that a caller sent.

Called by `server`; `engine`, `lab` and `cli` take pseudonyms, forms and money from here.
"""
