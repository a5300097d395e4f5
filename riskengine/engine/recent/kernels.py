"""Kernels of the ring of recent decisions.

Two open-addressing indexes point into the ring: by request_key and by transaction tag; a slot holds the ring position plus one.
INVARIANTS: an index has at least twice as many slots as the ring has rows, so every search ends; deletion shifts back.
Called by `engine.recent.table`.
"""

import numpy as np

from riskengine.enums import Kind, ReplyStatus
from riskengine.jit import kernel
from riskengine.types import DECISION_WORD, EVENT_WORD, TAG_WORD_FIRST

_KEY = DECISION_WORD["request_key"]
_CHECK = DECISION_WORD["request_check"]
_PAYLOAD = DECISION_WORD["payload_hash"]
_EVENT_KEY = EVENT_WORD["request_key"]
_EVENT_CHECK = EVENT_WORD["request_check"]
_EVENT_PAYLOAD = EVENT_WORD["payload_hash"]
_EVENT_KIND = EVENT_WORD["kind"]
_EVENT_TRANSACTION = EVENT_WORD["transaction_tag"]
_EVENT_SEQUENCE = EVENT_WORD["sequence"]
_EVENT_RECEIVED = EVENT_WORD["received_time_us"]
_OUTCOME = int(Kind.OUTCOME)
_DECIDED = int(ReplyStatus.DECIDED)
_REPEATED = int(ReplyStatus.REPEATED)
_REUSED = int(ReplyStatus.REUSED)

CURSOR_NEXT = 0
CURSOR_LIVE = 1

PROGRESS_SEQUENCE = 0
PROGRESS_RECEIVED_US = 1


@kernel(inline=True)
def _home(key, mask):
    return (key ^ (key >> 32)) & mask


@kernel()
def index_find(index, column, key):
    """Returns the ring position whose `column` holds a key, or -1.

    Args:
        index: int32[S], ring position plus one; 0 is empty.
        column: int64[N], the keys by ring position.
        key: Not 0.
    """
    mask = len(index) - 1
    slot = _home(key, mask)
    while index[slot] != 0:
        position = np.int64(index[slot]) - 1
        if column[position] == key:
            return position
        slot = (slot + 1) & mask
    return np.int64(-1)


@kernel()
def index_put(index, column, key, position):
    """Points a key at a ring position, instead of at an older one if it is known."""
    mask = len(index) - 1
    slot = _home(key, mask)
    while index[slot] != 0 and column[np.int64(index[slot]) - 1] != key:
        slot = (slot + 1) & mask
    index[slot] = position + 1


@kernel()
def index_remove(index, column, key, position):
    """Removes a key if it still points at a ring position, and shifts later ones back."""
    mask = len(index) - 1
    slot = _home(key, mask)
    while index[slot] != 0 and column[np.int64(index[slot]) - 1] != key:
        slot = (slot + 1) & mask
    if np.int64(index[slot]) != position + 1:
        return
    hole = slot
    slot = (slot + 1) & mask
    while index[slot] != 0:
        home = _home(column[np.int64(index[slot]) - 1], mask)
        if ((slot - home) & mask) >= ((slot - hole) & mask):
            index[hole] = index[slot]
            hole = slot
        slot = (slot + 1) & mask
    index[hole] = 0


@kernel()
def ring_add(event, decisions, tags, transactions, keys, by_request, by_transaction, cursor):
    """Gives a command the next position of the ring; the oldest leaves if it is full.

    Returns:
        The position.
    """
    position = cursor[CURSOR_NEXT]
    if cursor[CURSOR_LIVE] == len(decisions):
        index_remove(by_request, keys, keys[position], position)
        if transactions[position] != 0:
            index_remove(by_transaction, transactions, transactions[position], position)
        # The keys must be gone before others are compared with them.
        keys[position] = 0
        transactions[position] = 0
    else:
        cursor[CURSOR_LIVE] += 1
    cursor[CURSOR_NEXT] = (position + 1) % len(decisions)
    for word in range(decisions.shape[1]):
        decisions[position, word] = 0
    decisions[position, _KEY] = event[_EVENT_KEY]
    decisions[position, _CHECK] = event[_EVENT_CHECK]
    decisions[position, _PAYLOAD] = event[_EVENT_PAYLOAD]
    for index in range(tags.shape[1]):
        tags[position, index] = event[TAG_WORD_FIRST + index]
    keys[position] = event[_EVENT_KEY]
    index_put(by_request, keys, event[_EVENT_KEY], position)
    # An outcome is found by request only: its transaction keeps pointing at the payment.
    if event[_EVENT_KIND] != _OUTCOME and event[_EVENT_TRANSACTION] != 0:
        index_put(by_transaction, transactions, event[_EVENT_TRANSACTION], position)
        transactions[position] = event[_EVENT_TRANSACTION]
    return position


@kernel()
def fill_outcome(events, row, tags, transactions, by_transaction):
    """Fills in the tags of an outcome from its transaction, unless the caller sent some."""
    known = False
    for index in range(tags.shape[1]):
        known = known or events[row, TAG_WORD_FIRST + index] != 0
    if known or events[row, _EVENT_TRANSACTION] == 0:
        return
    position = index_find(by_transaction, transactions, events[row, _EVENT_TRANSACTION])
    if position < 0:
        return
    for index in range(tags.shape[1]):
        events[row, TAG_WORD_FIRST + index] = tags[position, index]


@kernel(
    "int64(int64[:,::1], int64[::1], int64[:,::1], int64[:,::1], int64[::1], int64[::1], int32[::1], int32[::1],"
    " int64[::1], int64[::1], int64[::1], int64[:,::1])"
)
def screen(
    events,
    progress,
    decisions,
    tags,
    transactions,
    keys,
    by_request,
    by_transaction,
    cursor,
    statuses,
    positions,
    replies,
):
    """Tells new commands from repeated ones, in order, numbers the new ones and gives them a place.

    Args:
        events: int64[n, EVENT_WORDS]; the tags of an outcome that brings none are filled in from its transaction. New
            rows get their sequence, and their received time is raised to that of the command before where it falls.
        progress: int64[2], sequence and received time of the last command, microseconds; moved on.
        decisions: int64[N, DECISION_WORDS], the ring; n <= N.
        tags: int64[N, entity types], the entities of each command.
        transactions, keys: int64[N], transaction tag and request_key by position.
        by_request, by_transaction: int32[S], the indexes.
        cursor: int64[2], next position and rows in use.
        statuses: int64[n], written: DECIDED for a new one, REPEATED or REUSED.
        positions: int64[n], written: ring position; -1 for a reply that is in `replies` already.
        replies: int64[n, DECISION_WORDS], written where a repeated command was decided before this batch.

    Returns:
        The number of new commands.
    """
    new = np.int64(0)
    for row in range(len(events)):
        position = index_find(by_request, keys, events[row, _EVENT_KEY])
        if position >= 0:
            same = decisions[position, _CHECK] == events[row, _EVENT_CHECK]
            same = same and decisions[position, _PAYLOAD] == events[row, _EVENT_PAYLOAD]
            statuses[row] = _REPEATED if same else _REUSED
            # The row may be given away before the batch ends, so what is decided already is copied now.
            for word in range(decisions.shape[1]):
                replies[row, word] = decisions[position, word]
            earlier = row - 1
            positions[row] = -1
            while earlier >= 0:
                if statuses[earlier] == _DECIDED and positions[earlier] == position:
                    positions[row] = position
                    break
                earlier -= 1
            continue
        if events[row, _EVENT_KIND] == _OUTCOME:
            fill_outcome(events, row, tags, transactions, by_transaction)
        position = ring_add(events[row], decisions, tags, transactions, keys, by_request, by_transaction, cursor)
        statuses[row] = _DECIDED
        positions[row] = position
        new += 1
        progress[PROGRESS_SEQUENCE] += 1
        progress[PROGRESS_RECEIVED_US] = max(progress[PROGRESS_RECEIVED_US], events[row, _EVENT_RECEIVED])
        events[row, _EVENT_SEQUENCE] = progress[PROGRESS_SEQUENCE]
        events[row, _EVENT_RECEIVED] = progress[PROGRESS_RECEIVED_US]
    return new


@kernel("int64(int64[:,::1], int64[::1], int64[::1], int64[:,::1], int64[:,::1])")
def settle(decisions, statuses, positions, decided, replies):
    """Stores the decisions of the new rows of a batch and completes its replies.

    Args:
        decisions: int64[N, DECISION_WORDS], the ring.
        statuses, positions: int64[n], from `screen`.
        decided: int64[m, DECISION_WORDS], of the new rows, in order.
        replies: int64[n, DECISION_WORDS], written where `screen` has not.

    Returns:
        The number of new rows, m.
    """
    new = 0
    for row in range(len(statuses)):
        if statuses[row] == _DECIDED:
            for word in range(decisions.shape[1]):
                decisions[positions[row], word] = decided[new, word]
            new += 1
        if positions[row] >= 0:
            for word in range(decisions.shape[1]):
                replies[row, word] = decisions[positions[row], word]
    return new


@kernel(
    "int64(int64[:,::1], int64[:,::1], int64[:,::1], int64[:,::1], int64[::1], int64[::1], int32[::1], int32[::1], int64[::1])"
)
def remember(events, decided, decisions, tags, transactions, keys, by_request, by_transaction, cursor):
    """Takes commands and their decisions as journaled, when folding.

    Args:
        events: int64[n, EVENT_WORDS].
        decided: int64[n, DECISION_WORDS].

    Returns:
        The number of rows.
    """
    for row in range(len(events)):
        position = ring_add(events[row], decisions, tags, transactions, keys, by_request, by_transaction, cursor)
        for word in range(decisions.shape[1]):
            decisions[position, word] = decided[row, word]
    return len(events)


@kernel("int64(int64[:,::1], int64[:,::1], int64[::1], int32[::1], int64[::1], int64[:,::1])")
def lookup(wanted, decisions, keys, by_request, statuses, replies):
    """Finds decisions by request.

    Args:
        wanted: int64[n, 2], request_key and request_check.
        statuses: int64[n], written: REPEATED where found, else as it was.
        replies: int64[n, DECISION_WORDS], written where found.

    Returns:
        The number found.
    """
    found = 0
    for row in range(len(wanted)):
        position = index_find(by_request, keys, wanted[row, 0])
        if position < 0 or decisions[position, _CHECK] != wanted[row, 1]:
            continue
        for word in range(decisions.shape[1]):
            replies[row, word] = decisions[position, word]
        statuses[row] = _REPEATED
        found += 1
    return found
