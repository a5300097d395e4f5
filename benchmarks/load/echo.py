"""The opponent: an empty grpc.aio server on the same event loop that answers every request with the same bytes.

Run by `benchmarks.load.__main__` as ``python -m benchmarks.load.echo REPLY_FILE``; prints its port, ends with stdin.
"""

import asyncio
import sys
from pathlib import Path
from typing import Any

import grpc
import grpc.aio

from riskengine.server.app import channel_options, run_loop
from riskengine.server.client import SERVICE


async def serve(reply: bytes) -> None:
    """Serves until stdin ends."""

    async def echo(_raw: bytes, _context: Any) -> bytes:
        return reply

    server = grpc.aio.server(options=channel_options(shared_port=False))
    handlers: dict[str, Any] = {"ScoreTransaction": grpc.unary_unary_rpc_method_handler(echo)}
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(SERVICE, handlers),))
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    print(port, flush=True)
    ended = asyncio.Event()
    asyncio.get_running_loop().add_reader(sys.stdin.fileno(), ended.set)
    await ended.wait()
    await server.stop(1)


if __name__ == "__main__":
    run_loop(serve(Path(sys.argv[1]).read_bytes()))
