"""h2load as the load generator, and what came of a run.

INVARIANT: h2load counts HTTP answers, not verdicts: whoever believes its figures has compared the engine's own count
with the number of calls (`benchmarks.load.__main__` does). Called by `benchmarks.load.__main__`.
"""

import shutil
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path

from riskengine.server.client import SERVICE


@dataclass(frozen=True, slots=True)
class Run:
    """One run of h2load.

    Attributes:
        calls_per_s: From the first start to the last end.
        p50_ms, p99_ms: Latency as h2load saw it, milliseconds.
    """

    calls_per_s: float
    p50_ms: float
    p99_ms: float


def available() -> bool:
    """Says whether h2load is installed (Debian's nghttp2-client)."""
    return shutil.which("h2load") is not None


def press(port: int, body: bytes, *, calls: int, connections: int, streams: int) -> Run:
    """Sends calls in a closed loop.

    Args:
        port: On 127.0.0.1.
        body: One serialised request.
        calls: In all.
        connections: HTTP/2 connections.
        streams: Calls in flight on each.

    Raises:
        RuntimeError: Some call got no answer at all.
    """
    with tempfile.TemporaryDirectory() as folder:
        data, log = Path(folder) / "body", Path(folder) / "log"
        data.write_bytes(b"\0" + len(body).to_bytes(4, "big") + body)
        command = ["h2load", "-n", str(calls), "-c", str(connections), "-m", str(streams), "-d", str(data)]
        headers = ["-H", "content-type: application/grpc", "-H", "te: trailers"]
        url = f"http://127.0.0.1:{port}/{SERVICE}/ScoreTransaction"
        ran = subprocess.run(
            [*command, *headers, "--log-file", str(log), url], capture_output=True, text=True, check=False
        )
        rows = [line.split() for line in log.read_text().splitlines()] if log.exists() else []
    if len(rows) != calls or any(row[1] != "200" for row in rows):
        raise RuntimeError(f"h2load: {len(rows)} of {calls} calls were answered\n{ran.stdout}{ran.stderr}")
    starts_us = [int(row[0]) for row in rows]
    took_us = sorted(int(row[2]) for row in rows)
    ends_us = [int(row[0]) + int(row[2]) for row in rows]
    return Run(
        calls_per_s=calls / (max(ends_us) - min(starts_us)) * 1e6,
        p50_ms=took_us[calls // 2] / 1000,
        p99_ms=took_us[int(calls * 0.99)] / 1000,
    )
