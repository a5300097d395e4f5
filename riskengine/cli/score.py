"""`score`: one payment from a file, one decision on the screen."""

import json
import re
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from riskengine.cli.console import out
from riskengine.cli.failures import UsageProblem
from riskengine.cli.workspace import check_address
from riskengine.errors import RiskEngineError, nearest

if TYPE_CHECKING:
    from riskengine.v1.risk_service_pb2 import ScoreTransactionRequest

FILE_BYTES_MAX = 1 << 20


def score(
    file: Annotated[
        Path, typer.Argument(metavar="FILE.json", help="A ScoreTransactionRequest, or just a Transaction.")
    ],
    address: Annotated[str, typer.Option(metavar="HOST:PORT", help="Where the server listens.")] = "127.0.0.1:50051",
    raw: Annotated[bool, typer.Option("--json", help="Print the reply as JSON.")] = False,
    timeout_s: Annotated[float, typer.Option(min=0.001, help="Deadline, seconds.")] = 5.0,
) -> None:
    """Sends one payment to a running server and prints the decision. "-" reads standard input.

    A Transaction without eventTime is scored as of now, each time anew. Where the file has an eventTime or a requestId,
    sending it again returns the stored decision.
    """
    check_address(address)
    request = read_request(_text_of(file), name=str(file))
    import grpc
    from google.protobuf import json_format

    from riskengine.cli.decisions import show_decision
    from riskengine.server.client import RiskClient, describe, nobody_at, reached_nobody

    with RiskClient(address) as client:
        try:
            reply = client.service.ScoreTransaction(request, timeout=timeout_s, wait_for_ready=False)
        except grpc.RpcError as error:
            if reached_nobody(error):
                raise nobody_at(address) from None
            raise RiskEngineError(describe(error)) from None
    if raw:
        sys.stdout.write(json_format.MessageToJson(reply.decision) + "\n")
        return
    show_decision(reply.decision, out())


def read_request(text: str, *, name: str) -> "ScoreTransactionRequest":
    """Reads protobuf JSON.

    Args:
        text: A ScoreTransactionRequest or a Transaction.
        name: Of the file, for messages.

    Raises:
        UsageProblem: It is neither.
    """
    from google.protobuf import json_format
    from google.protobuf.message import DecodeError

    from riskengine.v1.risk_service_pb2 import ScoreTransactionRequest

    try:
        data = json.loads(text)
    except ValueError as error:
        raise UsageProblem(f"{name} is not JSON: {error}; riskengine init writes an example_payment.json") from None
    if not isinstance(data, dict):
        raise UsageProblem(f"{name} must hold one JSON object, a ScoreTransactionRequest or a Transaction")
    whole = data if "transaction" in data else {"transaction": data}
    request = ScoreTransactionRequest()
    try:
        json_format.ParseDict(whole, request)
    except (json_format.ParseError, DecodeError) as error:
        near = _nearest_name(str(error))
        raise UsageProblem(f"{name}: {error}{near}; see protos/riskengine/v1/transaction.proto") from None
    if not request.request_id:
        request.request_id = _request_id(text)
    if not request.transaction.HasField("event_time"):
        request.transaction.event_time.FromMicroseconds(time.time_ns() // 1000)
        if not whole.get("requestId", whole.get("request_id")):
            request.request_id = _request_id(f"{text}{request.transaction.event_time}")
    return request


def _nearest_name(told: str) -> str:
    """Returns the enum's name that was perhaps meant, for what protobuf says of an unknown one."""
    import riskengine.v1.transaction_pb2 as messages

    match = re.search(r"[Ii]nvalid enum value (\S+) for enum type:? riskengine\.v1\.(\w+)", told)
    kind = getattr(messages, match[2], None) if match else None
    return nearest(match[1].strip("'\""), kind.keys()) if match and kind is not None else ""


def _request_id(text: str) -> str:
    from hashlib import blake2b

    return f"score-{blake2b(text.encode(), digest_size=12).hexdigest()}"


def _text_of(file: Path) -> str:
    if str(file) == "-":
        raw = sys.stdin.buffer.read(FILE_BYTES_MAX + 1)
    elif file.is_dir():
        raise UsageProblem(f"{file} is a folder; name a file in it, for example {file / 'example_payment.json'}")
    elif file.is_file():
        with file.open("rb") as opened:
            raw = opened.read(FILE_BYTES_MAX + 1)
    else:
        raise UsageProblem(f"{file}: no such file; riskengine init writes an example_payment.json")
    if len(raw) > FILE_BYTES_MAX:
        raise UsageProblem(f"{file} is larger than {FILE_BYTES_MAX >> 20} MiB; name a file that holds one payment")
    try:
        return raw.decode()
    except UnicodeDecodeError:
        raise UsageProblem(f"{file} is not UTF-8 text; it must hold JSON") from None
