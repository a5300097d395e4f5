"""Linkage: who shares what with whom."""
