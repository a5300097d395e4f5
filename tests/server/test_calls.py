"""The six calls through real processes and sockets."""

from pathlib import Path
from typing import Any

import grpc
import pytest
from google.rpc import error_details_pb2

from riskengine.server.client import SERVICE, describe, reason_of, violations_of
from riskengine.v1 import decision_pb2, transaction_pb2
from riskengine.v1 import risk_service_pb2 as service
from tests.server.running import Server, failure, score_request

pytestmark = [pytest.mark.server, pytest.mark.timeout(300)]


def test_one_transaction_is_scored(server: Server) -> None:
    """Goal: a payment gets a full, durable decision. Method: one call; look at each part that a gateway relies on."""
    decision = server.calls.ScoreTransaction(score_request(), timeout=5).decision

    assert decision.name.startswith("decisions/")
    assert decision.verdict != decision_pb2.VERDICT_UNSPECIFIED
    assert decision.recorded
    assert [] == list(decision.degraded_stages)
    assert decision.policy.startswith("policies/")
    assert 12 == len(decision.policy_revision)
    assert decision.segment == "default"
    assert decision.HasField("receive_time")


def test_repeated_request_gets_the_same_bytes_and_is_not_counted(server: Server) -> None:
    """Goal: retries are safe. Method: the same request thrice, bytes compared, rows counted."""
    request = score_request().SerializeToString()
    before = server.row_count()

    replies = {server.raw("ScoreTransaction", request) for _ in range(3)}

    assert 1 == len(replies)
    assert before + 1 == server.row_count()


def test_request_id_with_another_payload_is_refused(server: Server) -> None:
    """Goal: one id, one payment. Method: the same id with another amount; the first decision stands."""
    request = score_request()
    first = server.calls.ScoreTransaction(request, timeout=5)
    other = score_request(request_id=request.request_id, amount_minor=1)

    error = failure(server.calls.ScoreTransaction, other, timeout=5)

    assert grpc.StatusCode.ALREADY_EXISTS == error.code()
    assert "REQUEST_ID_REUSED" == reason_of(error)
    assert first == server.calls.ScoreTransaction(request, timeout=5)


def test_decision_is_found_by_name_byte_for_byte(server: Server) -> None:
    """Goal: GetDecision gives what was given. Method: compare bytes; then a name nobody has, and one that is none."""
    raw = server.raw("ScoreTransaction", score_request().SerializeToString())
    name = service.ScoreTransactionResponse.FromString(raw).decision.name

    found = server.raw("GetDecision", service.GetDecisionRequest(name=name).SerializeToString())
    unknown = failure(server.calls.GetDecision, service.GetDecisionRequest(name="decisions/" + "0" * 32), timeout=5)
    wrong = failure(server.calls.GetDecision, service.GetDecisionRequest(name="x"), timeout=5)

    assert raw == found
    assert (grpc.StatusCode.NOT_FOUND, "DECISION_NOT_FOUND") == (unknown.code(), reason_of(unknown))
    assert [("name", 'must be "decisions/" and 32 hex digits')] == violations_of(wrong)


def test_transaction_is_recorded_once(server: Server) -> None:
    """Goal: history can be loaded and loaded again. Method: record twice; the rows grow once."""
    scored = score_request()
    request = service.RecordTransactionRequest(
        request_id=scored.request_id, transaction=scored.transaction, verdict=decision_pb2.VERDICT_APPROVE
    )
    before = server.row_count()

    replies = [server.calls.RecordTransaction(request, timeout=5) for _ in range(2)]

    assert [service.RecordTransactionResponse(recorded=True, folded=True)] * 2 == replies
    assert before + 1 == server.row_count()


def test_recorded_transaction_has_no_decision_to_find(server: Server) -> None:
    """Goal: what was never scored has no decision. Method: score under the id of a record is refused."""
    scored = score_request()
    request = service.RecordTransactionRequest(request_id=scored.request_id, transaction=scored.transaction)
    server.calls.RecordTransaction(request, timeout=5)

    assert "REQUEST_ID_REUSED" == reason_of(failure(server.calls.ScoreTransaction, scored, timeout=5))


def test_outcome_is_matched_to_its_entities(server: Server) -> None:
    """Goal: a chargeback finds its card. Method: report with entities, and without any for a stranger."""
    scored = score_request()
    server.calls.ScoreTransaction(scored, timeout=5)
    known = service.ReportOutcomeRequest(
        request_id=f"{scored.request_id}-o1",
        transaction_id=scored.transaction.transaction_id,
        type=service.OUTCOME_TYPE_CHARGEBACK_FRAUD,
        event_time=scored.transaction.event_time,
        entities=scored.transaction.entities,
    )
    stranger = service.ReportOutcomeRequest(
        request_id=f"{scored.request_id}-o2",
        transaction_id="never-seen",
        type=service.OUTCOME_TYPE_FRAUD,
        event_time=scored.transaction.event_time,
    )

    assert service.ReportOutcomeResponse(recorded=True, matched=True) == server.calls.ReportOutcome(known, timeout=5)
    assert service.ReportOutcomeResponse(recorded=True, matched=False) == server.calls.ReportOutcome(
        stranger, timeout=5
    )


def test_batch_gives_each_item_its_own_result(server: Server) -> None:
    """Goal: one bad item costs the others nothing. Method: good, bad, good, a duplicate, a reused id; order kept."""
    good = [score_request(), score_request()]
    bad = score_request(amount_minor=-1)
    reused = score_request(request_id=good[0].request_id, amount_minor=7)
    batch = service.BatchScoreTransactionsRequest(requests=[good[0], bad, good[1], good[0], reused])

    results = server.calls.BatchScoreTransactions(batch, timeout=5).results

    kinds = [result.WhichOneof("result") for result in results]
    assert ["decision", "error", "decision", "decision", "error"] == kinds
    assert results[0].decision == results[3].decision
    assert results[0].decision.name != results[2].decision.name
    assert [3, 6] == [results[1].error.code, results[4].error.code]
    info = error_details_pb2.ErrorInfo()
    assert results[4].error.details[0].Unpack(info)
    assert "REQUEST_ID_REUSED" == info.reason


def test_batch_of_a_thousand_is_scored_in_order(server: Server) -> None:
    """Goal: the declared size works, in slices. Method: one card pays 1,000 times; its own name comes back for each."""
    batch = service.BatchScoreTransactionsRequest(requests=[score_request(card_id="busy") for _ in range(1000)])

    results = server.calls.BatchScoreTransactions(batch, timeout=30).results
    alone = [server.calls.ScoreTransaction(batch.requests[index], timeout=5).decision for index in (0, 63, 64, 65, 999)]

    assert 1000 == len(results)
    assert [results[index].decision for index in (0, 63, 64, 65, 999)] == alone


def test_bad_items_of_a_batch_do_not_make_its_reply_too_large(server: Server) -> None:
    """Goal: what was counted is told. Method: 20 good items and 980 in which all is wrong; a client with gRPC's bounds."""
    good, bad = [score_request() for _ in range(20)], service.ScoreTransactionRequest(request_id="!")
    worst = bad.transaction
    for name in ("transaction_id", "currency_code", "merchant_category_code", "original_transaction_id"):
        setattr(worst, name, "!")
    for name in ("type", "channel", "entry_mode", "initiation", "utc_offset_minutes"):
        setattr(worst, name, 5_000)
    for field in transaction_pb2.Entities.DESCRIPTOR.fields:
        setattr(worst.entities, field.name, "\x7f")
    for field in transaction_pb2.Regions.DESCRIPTOR.fields:
        setattr(worst.regions, field.name, "!")
    batch = service.BatchScoreTransactionsRequest(requests=[*good, *[bad] * 980])
    reply = server.calls.BatchScoreTransactions(batch, timeout=30)

    assert ["decision"] * 20 + ["error"] * 980 == [result.WhichOneof("result") for result in reply.results]
    assert 4 << 20 > reply.ByteSize() > 1 << 20


@pytest.mark.parametrize("count", [0, 1001])
def test_batch_of_a_wrong_size_is_refused(server: Server, count: int) -> None:
    """Goal: 1 to 1,000. Method: one fewer, one more."""
    batch = service.BatchScoreTransactionsRequest(requests=[service.ScoreTransactionRequest()] * count)
    error = failure(server.calls.BatchScoreTransactions, batch, timeout=5)

    assert grpc.StatusCode.INVALID_ARGUMENT == error.code()
    assert ["requests"] == [field for field, _ in violations_of(error)]


def test_large_item_of_a_batch_fails_alone(server: Server) -> None:
    """Goal: a batch is no way around the size of a call. Method: one item of 70 kB between two good ones."""
    large = score_request()
    large.transaction.entities.shipping_address = "x" * 70_000
    batch = service.BatchScoreTransactionsRequest(requests=[score_request(), large, score_request()])

    results = server.calls.BatchScoreTransactions(batch, timeout=5).results

    assert ["decision", "error", "decision"] == [result.WhichOneof("result") for result in results]
    assert "at most 65536 bytes" in str(results[1].error)


def test_stream_answers_in_order_with_errors_in_their_place(server: Server) -> None:
    """Goal: a reply for each message, in order, and its own. Method: 200 messages, some bad; ask again one by one."""
    requests = [
        score_request(amount_minor=-1 if index % 7 == 0 else 100, request_id=f"stream-{index:06d}")
        for index in range(200)
    ]
    messages = [service.StreamScoreTransactionsRequest(request=request) for request in requests]
    messages.append(service.StreamScoreTransactionsRequest())

    replies = list(server.calls.StreamScoreTransactions(iter(messages), timeout=20))

    assert [request.request_id for request in requests] + [""] == [reply.request_id for reply in replies]
    expected = ["error" if index % 7 == 0 else "decision" for index in range(200)]
    assert [*expected, "error"] == [reply.WhichOneof("result") for reply in replies]
    for request, reply in zip(requests, replies[:-1], strict=True):
        if reply.HasField("decision"):
            assert reply.decision == server.calls.ScoreTransaction(request, timeout=5).decision


def test_replies_are_the_bytes_that_protobuf_writes(server: Server) -> None:
    """Goal: no client can tell that replies are put together by hand, decisions and errors in their fields.

    Method: the raw reply of each call, parsed and serialised again; one good and one bad request in batch and stream.
    """
    good, bad = score_request(), score_request(amount_minor=-1)
    record = service.RecordTransactionRequest(request_id="bytes-000001", transaction=good.transaction)
    batch = service.BatchScoreTransactionsRequest(requests=[good, bad])
    messages = [service.StreamScoreTransactionsRequest(request=request) for request in (bad, good)]
    stream: Any = server.client.channel.stream_stream(f"/{SERVICE}/StreamScoreTransactions")
    raws: list[tuple[Any, bytes]] = [
        (service.ScoreTransactionResponse, server.raw("ScoreTransaction", good.SerializeToString())),
        (service.RecordTransactionResponse, server.raw("RecordTransaction", record.SerializeToString())),
        (service.BatchScoreTransactionsResponse, server.raw("BatchScoreTransactions", batch.SerializeToString())),
    ]
    raws += [
        (service.StreamScoreTransactionsResponse, raw)
        for raw in stream(iter([message.SerializeToString() for message in messages]), timeout=5)
    ]

    assert [raw for _, raw in raws] == [
        kind.FromString(raw).SerializeToString(deterministic=True) for kind, raw in raws
    ]
    alone, _, several, first, second = [kind.FromString(raw) for kind, raw in raws]
    assert [alone.decision, alone.decision] == [several.results[0].decision, second.decision]
    assert several.results[1].error == first.error
    assert [bad.request_id, good.request_id] == [first.request_id, second.request_id]


BAD = [
    ("amount", {"amount_minor": -1}, "transaction.amount_minor"),
    ("currency", {"currency_code": "XXX"}, "transaction.currency_code"),
    ("type", {"type": transaction_pb2.TRANSACTION_TYPE_UNSPECIFIED}, "transaction.type"),
    ("request id", {"request_id": "short"}, "request_id"),
    ("oversized id", {"account_id": "a" * 65}, "transaction.entities.account_id"),
    ("card number", {"card_id": "4111111111111111"}, "transaction.entities.card_id"),
]


@pytest.mark.parametrize(("name", "overrides", "field"), BAD, ids=[row[0] for row in BAD])
def test_bad_field_is_named_and_nothing_is_journaled(
    server: Server, name: str, overrides: dict[str, object], field: str
) -> None:
    """Goal: a caller learns what to mend; nothing is counted. Method: one mistake each; rows counted before and after."""
    before = server.row_count()

    error = failure(server.calls.ScoreTransaction, score_request(**overrides), timeout=5)

    assert grpc.StatusCode.INVALID_ARGUMENT == error.code()
    assert [field] == [path for path, _ in violations_of(error)]
    assert field in describe(error)
    assert "4111111111111111" not in describe(error) + error.details()
    assert before == server.row_count()


def test_far_future_is_refused(server: Server) -> None:
    """Goal: event times keep to the clock. Method: an hour ahead."""
    request = score_request()
    request.transaction.event_time.seconds += 3600

    assert ["transaction.event_time"] == [
        path for path, _ in violations_of(failure(server.calls.ScoreTransaction, request, timeout=5))
    ]


@pytest.mark.parametrize("garbage", [b"\xff" * 40, b"\x0a\x05ab", b"\x0a\x02\xc3\x28", b"\x12\x7f"])
def test_garbage_is_malformed_and_quotes_nothing(server: Server, garbage: bytes) -> None:
    """Goal: bytes that are no message get our error, not the transport's. Method: each unary method, four kinds."""
    for method in ("ScoreTransaction", "BatchScoreTransactions", "RecordTransaction", "ReportOutcome", "GetDecision"):
        error = failure(server.raw, method, garbage)

        assert (grpc.StatusCode.INVALID_ARGUMENT, "MALFORMED_REQUEST") == (error.code(), reason_of(error)), method


def test_oversized_requests_are_refused(server: Server) -> None:
    """Goal: 64 KiB for a single call, 1 MiB for a batch. Method: one byte more than each, or a little."""
    single = failure(server.raw, "ScoreTransaction", bytes(65_537))
    batch = failure(server.raw, "BatchScoreTransactions", bytes((1 << 20) + 1))

    assert (grpc.StatusCode.INVALID_ARGUMENT, "REQUEST_TOO_LARGE") == (single.code(), reason_of(single))
    assert grpc.StatusCode.RESOURCE_EXHAUSTED == batch.code()


def test_unknown_method_is_unimplemented(server: Server) -> None:
    """Goal: nothing answers that is not declared. Method: call it."""
    assert grpc.StatusCode.UNIMPLEMENTED == failure(server.raw, "DropAllTables", b"").code()


def test_front_loads_no_numba(server: Server) -> None:
    """Goal: a front starts quickly and is small. Method: libraries mapped by front and by engine."""
    front = Path(f"/proc/{server.supervisor.pid_of('front')}/maps").read_text()
    engine = Path(f"/proc/{server.supervisor.pid_of('engine')}/maps").read_text()

    assert "llvmlite" not in front
    assert "xgboost" not in front + engine
    assert "llvmlite" in engine
    assert "cygrpc" not in engine
