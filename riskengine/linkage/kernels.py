"""Kernels of linkage: components by union–find over strong links, with a degree cap.

INVARIANTS: insert-only; union by size, the smaller node index wins a tie, so components and their roots
are a function of the order of events. A node over its cap within its retention stops joining; its own features tell so.
Source: union by size with path halving, Tarjan and van Leeuwen 1984. Called by `engine.fold.kernels`.
"""

import numpy as np

from riskengine.jit import kernel
from riskengine.linkage.layout import (
    COLUMN_COMPONENT_SIZE,
    COLUMN_DEGREE_MAX,
    COLUMN_OVER_CAP,
    LINK_ONE,
    LINK_ONE_WORD,
    LINK_OTHER,
    LINK_OTHER_WORD,
    NODE_PARENT,
    NODE_SIZE,
)
from riskengine.tables.layout import (
    COUNTER_NEWEST_US,
    COUNTER_NODES,
    COUNTER_NODES_REFUSED,
    HEAD_NODE,
    TYPE_RETENTION_US,
)
from riskengine.tables.members.kernels import relation_exceeds


@kernel()
def node_root(nodes, node):
    """Returns the root of a node's component, halving the path to it."""
    while nodes[node, NODE_PARENT] != node:
        nodes[node, NODE_PARENT] = nodes[nodes[node, NODE_PARENT], NODE_PARENT]
        node = nodes[node, NODE_PARENT]
    return node


@kernel()
def node_root_read(nodes, node):
    """Returns the root of a node's component without halving: a read that a stage mask may skip must change nothing."""
    while nodes[node, NODE_PARENT] != node:
        node = nodes[node, NODE_PARENT]
    return node


@kernel()
def node_of(heads, nodes, counters, entity):
    """Returns the entity's node, making one if there is room; 0 where there is none, which is counted."""
    node = heads[entity, HEAD_NODE]
    if node != 0:
        return node
    if counters[COUNTER_NODES] + 1 >= len(nodes):
        counters[COUNTER_NODES_REFUSED] += 1
        return np.int64(0)
    counters[COUNTER_NODES] += 1
    node = counters[COUNTER_NODES]
    nodes[node, NODE_PARENT] = node
    nodes[node, NODE_SIZE] = 1
    heads[entity, HEAD_NODE] = node
    return node


@kernel()
def node_join(nodes, one, other):
    """Joins the components of two nodes."""
    root = node_root(nodes, one)
    joined = node_root(nodes, other)
    if root == joined:
        return
    if nodes[joined, NODE_SIZE] > nodes[root, NODE_SIZE] or (
        nodes[joined, NODE_SIZE] == nodes[root, NODE_SIZE] and joined < root
    ):
        root, joined = joined, root
    nodes[joined, NODE_PARENT] = root
    nodes[root, NODE_SIZE] += nodes[joined, NODE_SIZE]


@kernel()
def over_cap(heads, arena, types, counters, columns, entity_type, entity, word):
    """Tells whether an entity was seen with more members within its retention than it may join; see `relation_exceeds`.

    Args:
        entity_type: Row of ``types`` and of ``columns``.
        word: The first head word of the last-seen table.
    """
    since_us = counters[COUNTER_NEWEST_US] - types[entity_type, TYPE_RETENTION_US]
    return relation_exceeds(heads, arena, entity, word, since_us, columns[entity_type, COLUMN_DEGREE_MAX])


@kernel(inline=True)
def linkage_event(heads, arena, types, nodes, counters, entities, fold, read, links, columns, features, valid, row):
    """Joins the strongly linked entities of one event, then answers for each of them.

    The last-seen tables have been folded already, so the event's own links count.

    Args:
        entities: int64[entity types], index in ``heads``, -1 where absent.
        links: int64[L, LINK_WORDS].
        columns: int64[entity types, COLUMN_WORDS].
        features, valid: row `row` is written.
    """
    if fold:
        for link in range(len(links)):
            one = entities[links[link, LINK_ONE]]
            other = entities[links[link, LINK_OTHER]]
            if one < 0 or other < 0:
                continue
            one_over = over_cap(
                heads, arena, types, counters, columns, links[link, LINK_ONE], one, links[link, LINK_ONE_WORD]
            )
            other_over = over_cap(
                heads, arena, types, counters, columns, links[link, LINK_OTHER], other, links[link, LINK_OTHER_WORD]
            )
            one_node = node_of(heads, nodes, counters, one)
            other_node = node_of(heads, nodes, counters, other)
            if one_over or other_over or one_node == 0 or other_node == 0:
                continue
            node_join(nodes, one_node, other_node)
    if not read:
        return
    for link in range(len(links)):
        for side in range(2):
            entity_type = links[link, LINK_ONE + side]
            entity = entities[entity_type]
            column = columns[entity_type, COLUMN_OVER_CAP]
            if entity < 0 or column < 0:
                continue
            word = links[link, LINK_ONE_WORD + side]
            over = over_cap(heads, arena, types, counters, columns, entity_type, entity, word)
            # An entity is over its cap when any of its tables is.
            if over or valid[row, column] == 0:
                features[row, column] = 1.0 if over else 0.0
                valid[row, column] = 1
    for entity_type in range(len(columns)):
        column = columns[entity_type, COLUMN_COMPONENT_SIZE]
        entity = entities[entity_type]
        if column < 0 or entity < 0:
            continue
        node = heads[entity, HEAD_NODE]
        features[row, column] = 1.0 if node == 0 else float(nodes[node_root_read(nodes, node), NODE_SIZE])
        valid[row, column] = 1
