import datetime

from google.protobuf import duration_pb2 as _duration_pb2
from google.protobuf import timestamp_pb2 as _timestamp_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class Verdict(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    VERDICT_UNSPECIFIED: _ClassVar[Verdict]
    VERDICT_APPROVE: _ClassVar[Verdict]
    VERDICT_REVIEW: _ClassVar[Verdict]
    VERDICT_DECLINE: _ClassVar[Verdict]

class Stage(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    STAGE_UNSPECIFIED: _ClassVar[Stage]
    STAGE_LISTS: _ClassVar[Stage]
    STAGE_VELOCITY: _ClassVar[Stage]
    STAGE_LINKAGE: _ClassVar[Stage]
    STAGE_MODEL: _ClassVar[Stage]
    STAGE_POLICY: _ClassVar[Stage]

class ListAction(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    LIST_ACTION_UNSPECIFIED: _ClassVar[ListAction]
    LIST_ACTION_ALLOW: _ClassVar[ListAction]
    LIST_ACTION_BLOCK: _ClassVar[ListAction]
    LIST_ACTION_WATCH: _ClassVar[ListAction]

class ModelMode(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    MODEL_MODE_UNSPECIFIED: _ClassVar[ModelMode]
    MODEL_MODE_LIVE: _ClassVar[ModelMode]
    MODEL_MODE_SHADOW: _ClassVar[ModelMode]
VERDICT_UNSPECIFIED: Verdict
VERDICT_APPROVE: Verdict
VERDICT_REVIEW: Verdict
VERDICT_DECLINE: Verdict
STAGE_UNSPECIFIED: Stage
STAGE_LISTS: Stage
STAGE_VELOCITY: Stage
STAGE_LINKAGE: Stage
STAGE_MODEL: Stage
STAGE_POLICY: Stage
LIST_ACTION_UNSPECIFIED: ListAction
LIST_ACTION_ALLOW: ListAction
LIST_ACTION_BLOCK: ListAction
LIST_ACTION_WATCH: ListAction
MODEL_MODE_UNSPECIFIED: ModelMode
MODEL_MODE_LIVE: ModelMode
MODEL_MODE_SHADOW: ModelMode

class StepUp(_message.Message):
    __slots__ = ("methods",)
    METHODS_FIELD_NUMBER: _ClassVar[int]
    methods: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, methods: _Optional[_Iterable[str]] = ...) -> None: ...

class Hold(_message.Message):
    __slots__ = ("duration", "default_verdict")
    DURATION_FIELD_NUMBER: _ClassVar[int]
    DEFAULT_VERDICT_FIELD_NUMBER: _ClassVar[int]
    duration: _duration_pb2.Duration
    default_verdict: Verdict
    def __init__(self, duration: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ..., default_verdict: _Optional[_Union[Verdict, str]] = ...) -> None: ...

class Limit(_message.Message):
    __slots__ = ("amount_minor_max", "currency_code")
    AMOUNT_MINOR_MAX_FIELD_NUMBER: _ClassVar[int]
    CURRENCY_CODE_FIELD_NUMBER: _ClassVar[int]
    amount_minor_max: int
    currency_code: str
    def __init__(self, amount_minor_max: _Optional[int] = ..., currency_code: _Optional[str] = ...) -> None: ...

class Notify(_message.Message):
    __slots__ = ("audience",)
    AUDIENCE_FIELD_NUMBER: _ClassVar[int]
    audience: str
    def __init__(self, audience: _Optional[str] = ...) -> None: ...

class Obligation(_message.Message):
    __slots__ = ("step_up", "hold", "limit", "notify")
    STEP_UP_FIELD_NUMBER: _ClassVar[int]
    HOLD_FIELD_NUMBER: _ClassVar[int]
    LIMIT_FIELD_NUMBER: _ClassVar[int]
    NOTIFY_FIELD_NUMBER: _ClassVar[int]
    step_up: StepUp
    hold: Hold
    limit: Limit
    notify: Notify
    def __init__(self, step_up: _Optional[_Union[StepUp, _Mapping]] = ..., hold: _Optional[_Union[Hold, _Mapping]] = ..., limit: _Optional[_Union[Limit, _Mapping]] = ..., notify: _Optional[_Union[Notify, _Mapping]] = ...) -> None: ...

class Reason(_message.Message):
    __slots__ = ("code", "text", "feature", "observed_value", "norm_value", "contribution")
    CODE_FIELD_NUMBER: _ClassVar[int]
    TEXT_FIELD_NUMBER: _ClassVar[int]
    FEATURE_FIELD_NUMBER: _ClassVar[int]
    OBSERVED_VALUE_FIELD_NUMBER: _ClassVar[int]
    NORM_VALUE_FIELD_NUMBER: _ClassVar[int]
    CONTRIBUTION_FIELD_NUMBER: _ClassVar[int]
    code: str
    text: str
    feature: str
    observed_value: float
    norm_value: float
    contribution: float
    def __init__(self, code: _Optional[str] = ..., text: _Optional[str] = ..., feature: _Optional[str] = ..., observed_value: _Optional[float] = ..., norm_value: _Optional[float] = ..., contribution: _Optional[float] = ...) -> None: ...

class RuleHit(_message.Message):
    __slots__ = ("rule_id", "verdict")
    RULE_ID_FIELD_NUMBER: _ClassVar[int]
    VERDICT_FIELD_NUMBER: _ClassVar[int]
    rule_id: str
    verdict: Verdict
    def __init__(self, rule_id: _Optional[str] = ..., verdict: _Optional[_Union[Verdict, str]] = ...) -> None: ...

class ListHit(_message.Message):
    __slots__ = ("list_id", "action")
    LIST_ID_FIELD_NUMBER: _ClassVar[int]
    ACTION_FIELD_NUMBER: _ClassVar[int]
    list_id: str
    action: ListAction
    def __init__(self, list_id: _Optional[str] = ..., action: _Optional[_Union[ListAction, str]] = ...) -> None: ...

class Decision(_message.Message):
    __slots__ = ("name", "verdict", "obligations", "fraud_probability", "reasons", "rule_hits", "shadow_rule_hits", "unevaluated_rule_ids", "list_hits", "degraded_stages", "recorded", "approximate", "segment", "policy", "policy_revision", "model", "model_revision", "model_mode", "receive_time")
    NAME_FIELD_NUMBER: _ClassVar[int]
    VERDICT_FIELD_NUMBER: _ClassVar[int]
    OBLIGATIONS_FIELD_NUMBER: _ClassVar[int]
    FRAUD_PROBABILITY_FIELD_NUMBER: _ClassVar[int]
    REASONS_FIELD_NUMBER: _ClassVar[int]
    RULE_HITS_FIELD_NUMBER: _ClassVar[int]
    SHADOW_RULE_HITS_FIELD_NUMBER: _ClassVar[int]
    UNEVALUATED_RULE_IDS_FIELD_NUMBER: _ClassVar[int]
    LIST_HITS_FIELD_NUMBER: _ClassVar[int]
    DEGRADED_STAGES_FIELD_NUMBER: _ClassVar[int]
    RECORDED_FIELD_NUMBER: _ClassVar[int]
    APPROXIMATE_FIELD_NUMBER: _ClassVar[int]
    SEGMENT_FIELD_NUMBER: _ClassVar[int]
    POLICY_FIELD_NUMBER: _ClassVar[int]
    POLICY_REVISION_FIELD_NUMBER: _ClassVar[int]
    MODEL_FIELD_NUMBER: _ClassVar[int]
    MODEL_REVISION_FIELD_NUMBER: _ClassVar[int]
    MODEL_MODE_FIELD_NUMBER: _ClassVar[int]
    RECEIVE_TIME_FIELD_NUMBER: _ClassVar[int]
    name: str
    verdict: Verdict
    obligations: _containers.RepeatedCompositeFieldContainer[Obligation]
    fraud_probability: float
    reasons: _containers.RepeatedCompositeFieldContainer[Reason]
    rule_hits: _containers.RepeatedCompositeFieldContainer[RuleHit]
    shadow_rule_hits: _containers.RepeatedCompositeFieldContainer[RuleHit]
    unevaluated_rule_ids: _containers.RepeatedScalarFieldContainer[str]
    list_hits: _containers.RepeatedCompositeFieldContainer[ListHit]
    degraded_stages: _containers.RepeatedScalarFieldContainer[Stage]
    recorded: bool
    approximate: bool
    segment: str
    policy: str
    policy_revision: str
    model: str
    model_revision: str
    model_mode: ModelMode
    receive_time: _timestamp_pb2.Timestamp
    def __init__(self, name: _Optional[str] = ..., verdict: _Optional[_Union[Verdict, str]] = ..., obligations: _Optional[_Iterable[_Union[Obligation, _Mapping]]] = ..., fraud_probability: _Optional[float] = ..., reasons: _Optional[_Iterable[_Union[Reason, _Mapping]]] = ..., rule_hits: _Optional[_Iterable[_Union[RuleHit, _Mapping]]] = ..., shadow_rule_hits: _Optional[_Iterable[_Union[RuleHit, _Mapping]]] = ..., unevaluated_rule_ids: _Optional[_Iterable[str]] = ..., list_hits: _Optional[_Iterable[_Union[ListHit, _Mapping]]] = ..., degraded_stages: _Optional[_Iterable[_Union[Stage, str]]] = ..., recorded: _Optional[bool] = ..., approximate: _Optional[bool] = ..., segment: _Optional[str] = ..., policy: _Optional[str] = ..., policy_revision: _Optional[str] = ..., model: _Optional[str] = ..., model_revision: _Optional[str] = ..., model_mode: _Optional[_Union[ModelMode, str]] = ..., receive_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ...) -> None: ...
