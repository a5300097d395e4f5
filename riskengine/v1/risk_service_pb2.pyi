import datetime

from google.api import field_behavior_pb2 as _field_behavior_pb2
from google.protobuf import timestamp_pb2 as _timestamp_pb2
from google.rpc import status_pb2 as _status_pb2
from riskengine.v1 import decision_pb2 as _decision_pb2
from riskengine.v1 import transaction_pb2 as _transaction_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class OutcomeType(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    OUTCOME_TYPE_UNSPECIFIED: _ClassVar[OutcomeType]
    OUTCOME_TYPE_FRAUD: _ClassVar[OutcomeType]
    OUTCOME_TYPE_LEGITIMATE: _ClassVar[OutcomeType]
    OUTCOME_TYPE_CHARGEBACK_FRAUD: _ClassVar[OutcomeType]
    OUTCOME_TYPE_CHARGEBACK_OTHER: _ClassVar[OutcomeType]
    OUTCOME_TYPE_REFUNDED: _ClassVar[OutcomeType]
    OUTCOME_TYPE_ISSUER_DECLINED: _ClassVar[OutcomeType]
OUTCOME_TYPE_UNSPECIFIED: OutcomeType
OUTCOME_TYPE_FRAUD: OutcomeType
OUTCOME_TYPE_LEGITIMATE: OutcomeType
OUTCOME_TYPE_CHARGEBACK_FRAUD: OutcomeType
OUTCOME_TYPE_CHARGEBACK_OTHER: OutcomeType
OUTCOME_TYPE_REFUNDED: OutcomeType
OUTCOME_TYPE_ISSUER_DECLINED: OutcomeType

class ScoreTransactionRequest(_message.Message):
    __slots__ = ("request_id", "transaction")
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    TRANSACTION_FIELD_NUMBER: _ClassVar[int]
    request_id: str
    transaction: _transaction_pb2.Transaction
    def __init__(self, request_id: _Optional[str] = ..., transaction: _Optional[_Union[_transaction_pb2.Transaction, _Mapping]] = ...) -> None: ...

class ScoreTransactionResponse(_message.Message):
    __slots__ = ("decision",)
    DECISION_FIELD_NUMBER: _ClassVar[int]
    decision: _decision_pb2.Decision
    def __init__(self, decision: _Optional[_Union[_decision_pb2.Decision, _Mapping]] = ...) -> None: ...

class BatchScoreTransactionsRequest(_message.Message):
    __slots__ = ("requests",)
    REQUESTS_FIELD_NUMBER: _ClassVar[int]
    requests: _containers.RepeatedCompositeFieldContainer[ScoreTransactionRequest]
    def __init__(self, requests: _Optional[_Iterable[_Union[ScoreTransactionRequest, _Mapping]]] = ...) -> None: ...

class BatchScoreTransactionsResult(_message.Message):
    __slots__ = ("decision", "error")
    DECISION_FIELD_NUMBER: _ClassVar[int]
    ERROR_FIELD_NUMBER: _ClassVar[int]
    decision: _decision_pb2.Decision
    error: _status_pb2.Status
    def __init__(self, decision: _Optional[_Union[_decision_pb2.Decision, _Mapping]] = ..., error: _Optional[_Union[_status_pb2.Status, _Mapping]] = ...) -> None: ...

class BatchScoreTransactionsResponse(_message.Message):
    __slots__ = ("results",)
    RESULTS_FIELD_NUMBER: _ClassVar[int]
    results: _containers.RepeatedCompositeFieldContainer[BatchScoreTransactionsResult]
    def __init__(self, results: _Optional[_Iterable[_Union[BatchScoreTransactionsResult, _Mapping]]] = ...) -> None: ...

class StreamScoreTransactionsRequest(_message.Message):
    __slots__ = ("request",)
    REQUEST_FIELD_NUMBER: _ClassVar[int]
    request: ScoreTransactionRequest
    def __init__(self, request: _Optional[_Union[ScoreTransactionRequest, _Mapping]] = ...) -> None: ...

class StreamScoreTransactionsResponse(_message.Message):
    __slots__ = ("request_id", "decision", "error")
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    DECISION_FIELD_NUMBER: _ClassVar[int]
    ERROR_FIELD_NUMBER: _ClassVar[int]
    request_id: str
    decision: _decision_pb2.Decision
    error: _status_pb2.Status
    def __init__(self, request_id: _Optional[str] = ..., decision: _Optional[_Union[_decision_pb2.Decision, _Mapping]] = ..., error: _Optional[_Union[_status_pb2.Status, _Mapping]] = ...) -> None: ...

class RecordTransactionRequest(_message.Message):
    __slots__ = ("request_id", "transaction", "verdict")
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    TRANSACTION_FIELD_NUMBER: _ClassVar[int]
    VERDICT_FIELD_NUMBER: _ClassVar[int]
    request_id: str
    transaction: _transaction_pb2.Transaction
    verdict: _decision_pb2.Verdict
    def __init__(self, request_id: _Optional[str] = ..., transaction: _Optional[_Union[_transaction_pb2.Transaction, _Mapping]] = ..., verdict: _Optional[_Union[_decision_pb2.Verdict, str]] = ...) -> None: ...

class RecordTransactionResponse(_message.Message):
    __slots__ = ("recorded", "folded")
    RECORDED_FIELD_NUMBER: _ClassVar[int]
    FOLDED_FIELD_NUMBER: _ClassVar[int]
    recorded: bool
    folded: bool
    def __init__(self, recorded: _Optional[bool] = ..., folded: _Optional[bool] = ...) -> None: ...

class ReportOutcomeRequest(_message.Message):
    __slots__ = ("request_id", "transaction_id", "type", "event_time", "entities")
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    TRANSACTION_ID_FIELD_NUMBER: _ClassVar[int]
    TYPE_FIELD_NUMBER: _ClassVar[int]
    EVENT_TIME_FIELD_NUMBER: _ClassVar[int]
    ENTITIES_FIELD_NUMBER: _ClassVar[int]
    request_id: str
    transaction_id: str
    type: OutcomeType
    event_time: _timestamp_pb2.Timestamp
    entities: _transaction_pb2.Entities
    def __init__(self, request_id: _Optional[str] = ..., transaction_id: _Optional[str] = ..., type: _Optional[_Union[OutcomeType, str]] = ..., event_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., entities: _Optional[_Union[_transaction_pb2.Entities, _Mapping]] = ...) -> None: ...

class ReportOutcomeResponse(_message.Message):
    __slots__ = ("recorded", "matched")
    RECORDED_FIELD_NUMBER: _ClassVar[int]
    MATCHED_FIELD_NUMBER: _ClassVar[int]
    recorded: bool
    matched: bool
    def __init__(self, recorded: _Optional[bool] = ..., matched: _Optional[bool] = ...) -> None: ...

class GetDecisionRequest(_message.Message):
    __slots__ = ("name",)
    NAME_FIELD_NUMBER: _ClassVar[int]
    name: str
    def __init__(self, name: _Optional[str] = ...) -> None: ...

class GetDecisionResponse(_message.Message):
    __slots__ = ("decision",)
    DECISION_FIELD_NUMBER: _ClassVar[int]
    decision: _decision_pb2.Decision
    def __init__(self, decision: _Optional[_Union[_decision_pb2.Decision, _Mapping]] = ...) -> None: ...
