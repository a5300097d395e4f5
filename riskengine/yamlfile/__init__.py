"""Strict YAML 1.2 with the place of everything, and validation that speaks plain words."""

from .places import Place
from .reading import DEPTH_MAX, NODES_MAX, SIZE_MAX, Document, KeyPath, load_file, load_yaml
from .validation import check, check_parts, pattern, validate

__all__ = [
    "DEPTH_MAX",
    "NODES_MAX",
    "SIZE_MAX",
    "Document",
    "KeyPath",
    "Place",
    "check",
    "check_parts",
    "load_file",
    "load_yaml",
    "pattern",
    "validate",
]
