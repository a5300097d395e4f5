"""The same answers from Redis: a sorted set for each entity, by time, and a script that folds and answers one payment.

INVARIANTS: the server is this benchmark's own, on a Unix socket in a folder that goes with it, keeps nothing on disk and is ended
by its process; payments travel in pipelines, answers come packed as doubles, so that little of the time is the client's. Client
and server have a core each. Called by `benchmarks.velocity`.
"""

import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from benchmarks.velocity.folding import Took
from benchmarks.velocity.workload import ENTITIES, WINDOWS_S, Payments
from riskengine.types import US_PER_SECOND

PIPELINE_PAYMENTS: Final = 64
START_S_MAX: Final = 10
_WINDOWS: Final = ", ".join(str(seconds * US_PER_SECOND) for seconds in WINDOWS_S.values())

_SCAN: Final = """
-- A member is (time, amount, declined, id). One pass over the longest window, from the newest to the oldest, fills all windows.
local windows = {%(windows)s}
local now, amount, longest = tonumber(ARGV[1]), tonumber(ARGV[3]), windows[#windows]
local member = struct.pack('<dddd', now, amount, tonumber(ARGV[4]), tonumber(ARGV[2]))
local out = {}
for k = 1, #KEYS do
  redis.call('ZADD', KEYS[k], ARGV[1], member)
  redis.call('ZREMRANGEBYSCORE', KEYS[k], '-inf', string.format('%%.0f', now - longest))
  local seen = redis.call('ZRANGE', KEYS[k], ARGV[1], '-inf', 'BYSCORE', 'REV')
  local count, sum, declined, w = 0, 0, 0, 1
  for i = 1, #seen do
    local at, added, was_declined = struct.unpack('<ddd', seen[i])
    while now - at >= windows[w] do
      out[#out + 1] = struct.pack('<dddd', count, sum, (sum - amount) / (count - 1), declined)
      w = w + 1
    end
    count, sum, declined = count + 1, sum + added, declined + was_declined
  end
  for _ = w, #windows do
    out[#out + 1] = struct.pack('<dddd', count, sum, (sum - amount) / (count - 1), declined)
  end
end
return table.concat(out)
"""
_CUMULATIVE: Final = """
-- A member is (count, sum, declined count) of the entity up to and with it, so a window is the difference of two members: the
-- engine's own idea. It wants payments in order: a late one would have to change all members behind it.
local windows = {%(windows)s}
local now, amount, longest = tonumber(ARGV[1]), tonumber(ARGV[3]), windows[#windows]
local out = {}
local function at(key, before)
  local found = redis.call('ZRANGE', key, before, '-inf', 'BYSCORE', 'REV', 'LIMIT', 0, 1)
  if found[1] == nil then return 0, 0, 0 end
  return struct.unpack('<ddd', found[1])
end
for k = 1, #KEYS do
  local count, sum, declined = at(KEYS[k], ARGV[1])
  count, sum, declined = count + 1, sum + amount, declined + tonumber(ARGV[4])
  redis.call('ZADD', KEYS[k], ARGV[1], struct.pack('<ddd', count, sum, declined))
  for w = 1, #windows do
    local old_count, old_sum, old_declined = at(KEYS[k], string.format('%%.0f', now - windows[w]))
    local events, total = count - old_count, sum - old_sum
    out[#out + 1] = struct.pack('<dddd', events, total, (total - amount) / (events - 1), declined - old_declined)
  end
  redis.call('ZREMRANGEBYSCORE', KEYS[k], '-inf', string.format('%%.0f', now - 2 * longest))
end
return table.concat(out)
"""
WAYS: Final = {"scan": _SCAN % {"windows": _WINDOWS}, "cumulative": _CUMULATIVE % {"windows": _WINDOWS}}


def absent() -> str:
    """Returns what is missing here to ask Redis, or nothing."""
    if shutil.which("redis-server") is None:
        return "redis-server is not installed"
    try:
        import redis  # noqa: F401
    except ImportError:
        return "the Python package redis is not installed"
    return ""


@contextmanager
def server() -> Iterator[Any]:
    """Runs a server, and gives a connection to it."""
    import redis

    with tempfile.TemporaryDirectory() as folder:
        socket = Path(folder) / "redis.sock"
        command = ["redis-server", "--port", "0", "--unixsocket", str(socket), "--dir", folder]
        command += ["--save", "", "--appendonly", "no", "--daemonize", "no"]
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
        try:
            deadline = time.monotonic() + START_S_MAX
            while not socket.exists() and process.poll() is None and time.monotonic() < deadline:
                time.sleep(0.01)
            connection = redis.Redis(unix_socket_path=str(socket))
            connection.ping()
            yield connection
            connection.close()
        finally:
            process.terminate()
            process.wait()


def answer(payments: Payments, way: str) -> tuple[Took, npt.NDArray[np.float64]]:
    """Answers for payments in order.

    Args:
        payments: None of them late.
        way: One of WAYS.

    Returns:
        What it took by the clock, for two processes share the work; and float64[n, 144] in the order of
        `workload.feature_names`, NaN where there is no answer.
    """
    answered: list[bytes] = []
    keys = [
        [f"{entity[0]}{entity[-1]}:{rank}" for entity, rank in zip(ENTITIES, ranks, strict=True)]
        for ranks in payments.keys.T
    ]
    arguments = list(
        zip(
            payments.time_us.tolist(),
            range(len(payments)),
            payments.amount.tolist(),
            payments.declined.tolist(),
            strict=True,
        )
    )
    with server() as connection:
        script = connection.script_load(WAYS[way])
        started = time.perf_counter()
        for first in range(0, len(payments), PIPELINE_PAYMENTS):
            pipeline = connection.pipeline(transaction=False)
            for index in range(first, min(first + PIPELINE_PAYMENTS, len(payments))):
                pipeline.evalsha(script, len(ENTITIES), *keys[index], *arguments[index])
            answered += pipeline.execute()
        took_s = time.perf_counter() - started
    found = np.frombuffer(b"".join(answered), "<f8").reshape(len(payments), -1)
    return Took(took_s, took_s), np.where(np.isfinite(found), found, np.nan)
