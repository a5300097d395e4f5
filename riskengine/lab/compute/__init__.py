"""The offline twin: all features of a history in a Parquet file, by the very kernels that serve, on all cores.

INVARIANT: a value in the file is the value that the engine would have had at that event, to the last bit. Called by `cli`.
"""

from riskengine.lab.compute.output import CARRIED
from riskengine.lab.compute.run import CHUNK_ROWS, Computed, compute_file

__all__ = ["CARRIED", "CHUNK_ROWS", "Computed", "compute_file"]
