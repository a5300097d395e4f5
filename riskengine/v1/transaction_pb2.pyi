import datetime

from google.api import field_behavior_pb2 as _field_behavior_pb2
from google.protobuf import timestamp_pb2 as _timestamp_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class TransactionType(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    TRANSACTION_TYPE_UNSPECIFIED: _ClassVar[TransactionType]
    TRANSACTION_TYPE_CARD_PAYMENT: _ClassVar[TransactionType]
    TRANSACTION_TYPE_WALLET_TRANSFER: _ClassVar[TransactionType]
    TRANSACTION_TYPE_TOP_UP: _ClassVar[TransactionType]
    TRANSACTION_TYPE_WITHDRAWAL: _ClassVar[TransactionType]
    TRANSACTION_TYPE_REFUND: _ClassVar[TransactionType]
    TRANSACTION_TYPE_REVERSAL: _ClassVar[TransactionType]
    TRANSACTION_TYPE_LOGIN: _ClassVar[TransactionType]
    TRANSACTION_TYPE_ACCOUNT_OPENING: _ClassVar[TransactionType]
    TRANSACTION_TYPE_CARD_APPLICATION: _ClassVar[TransactionType]
    TRANSACTION_TYPE_VIRTUAL_CARD_ISSUE: _ClassVar[TransactionType]
    TRANSACTION_TYPE_PROMOTION_REDEMPTION: _ClassVar[TransactionType]

class Channel(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    CHANNEL_UNSPECIFIED: _ClassVar[Channel]
    CHANNEL_WEB: _ClassVar[Channel]
    CHANNEL_MOBILE_APP: _ClassVar[Channel]
    CHANNEL_POINT_OF_SALE: _ClassVar[Channel]
    CHANNEL_ATM: _ClassVar[Channel]
    CHANNEL_MOTO: _ClassVar[Channel]
    CHANNEL_API: _ClassVar[Channel]

class EntryMode(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    ENTRY_MODE_UNSPECIFIED: _ClassVar[EntryMode]
    ENTRY_MODE_CHIP: _ClassVar[EntryMode]
    ENTRY_MODE_CONTACTLESS: _ClassVar[EntryMode]
    ENTRY_MODE_MAGSTRIPE: _ClassVar[EntryMode]
    ENTRY_MODE_QR_MERCHANT_PRESENTED: _ClassVar[EntryMode]
    ENTRY_MODE_QR_PAYER_PRESENTED: _ClassVar[EntryMode]
    ENTRY_MODE_ONLINE: _ClassVar[EntryMode]
    ENTRY_MODE_NETWORK_TOKEN: _ClassVar[EntryMode]
    ENTRY_MODE_CREDENTIAL_ON_FILE: _ClassVar[EntryMode]
    ENTRY_MODE_MANUAL: _ClassVar[EntryMode]

class Initiation(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    INITIATION_UNSPECIFIED: _ClassVar[Initiation]
    INITIATION_PAYER: _ClassVar[Initiation]
    INITIATION_PAYER_RECURRING_FIRST: _ClassVar[Initiation]
    INITIATION_MERCHANT_RECURRING: _ClassVar[Initiation]
    INITIATION_MERCHANT_UNSCHEDULED: _ClassVar[Initiation]

class VerificationMethod(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    VERIFICATION_METHOD_UNSPECIFIED: _ClassVar[VerificationMethod]
    VERIFICATION_METHOD_ADDRESS: _ClassVar[VerificationMethod]
    VERIFICATION_METHOD_CARD_CODE: _ClassVar[VerificationMethod]
    VERIFICATION_METHOD_THREE_D_SECURE: _ClassVar[VerificationMethod]
    VERIFICATION_METHOD_ONE_TIME_CODE: _ClassVar[VerificationMethod]
    VERIFICATION_METHOD_BIOMETRIC: _ClassVar[VerificationMethod]
    VERIFICATION_METHOD_PASSCODE: _ClassVar[VerificationMethod]

class VerificationResult(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    VERIFICATION_RESULT_UNSPECIFIED: _ClassVar[VerificationResult]
    VERIFICATION_RESULT_PASSED: _ClassVar[VerificationResult]
    VERIFICATION_RESULT_FAILED: _ClassVar[VerificationResult]
    VERIFICATION_RESULT_PARTIAL: _ClassVar[VerificationResult]
    VERIFICATION_RESULT_UNAVAILABLE: _ClassVar[VerificationResult]
    VERIFICATION_RESULT_ABANDONED: _ClassVar[VerificationResult]

class IssuerOutcome(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    ISSUER_OUTCOME_UNSPECIFIED: _ClassVar[IssuerOutcome]
    ISSUER_OUTCOME_APPROVED: _ClassVar[IssuerOutcome]
    ISSUER_OUTCOME_DECLINED: _ClassVar[IssuerOutcome]
    ISSUER_OUTCOME_AUTHENTICATION_REQUIRED: _ClassVar[IssuerOutcome]
    ISSUER_OUTCOME_TIMED_OUT: _ClassVar[IssuerOutcome]
TRANSACTION_TYPE_UNSPECIFIED: TransactionType
TRANSACTION_TYPE_CARD_PAYMENT: TransactionType
TRANSACTION_TYPE_WALLET_TRANSFER: TransactionType
TRANSACTION_TYPE_TOP_UP: TransactionType
TRANSACTION_TYPE_WITHDRAWAL: TransactionType
TRANSACTION_TYPE_REFUND: TransactionType
TRANSACTION_TYPE_REVERSAL: TransactionType
TRANSACTION_TYPE_LOGIN: TransactionType
TRANSACTION_TYPE_ACCOUNT_OPENING: TransactionType
TRANSACTION_TYPE_CARD_APPLICATION: TransactionType
TRANSACTION_TYPE_VIRTUAL_CARD_ISSUE: TransactionType
TRANSACTION_TYPE_PROMOTION_REDEMPTION: TransactionType
CHANNEL_UNSPECIFIED: Channel
CHANNEL_WEB: Channel
CHANNEL_MOBILE_APP: Channel
CHANNEL_POINT_OF_SALE: Channel
CHANNEL_ATM: Channel
CHANNEL_MOTO: Channel
CHANNEL_API: Channel
ENTRY_MODE_UNSPECIFIED: EntryMode
ENTRY_MODE_CHIP: EntryMode
ENTRY_MODE_CONTACTLESS: EntryMode
ENTRY_MODE_MAGSTRIPE: EntryMode
ENTRY_MODE_QR_MERCHANT_PRESENTED: EntryMode
ENTRY_MODE_QR_PAYER_PRESENTED: EntryMode
ENTRY_MODE_ONLINE: EntryMode
ENTRY_MODE_NETWORK_TOKEN: EntryMode
ENTRY_MODE_CREDENTIAL_ON_FILE: EntryMode
ENTRY_MODE_MANUAL: EntryMode
INITIATION_UNSPECIFIED: Initiation
INITIATION_PAYER: Initiation
INITIATION_PAYER_RECURRING_FIRST: Initiation
INITIATION_MERCHANT_RECURRING: Initiation
INITIATION_MERCHANT_UNSCHEDULED: Initiation
VERIFICATION_METHOD_UNSPECIFIED: VerificationMethod
VERIFICATION_METHOD_ADDRESS: VerificationMethod
VERIFICATION_METHOD_CARD_CODE: VerificationMethod
VERIFICATION_METHOD_THREE_D_SECURE: VerificationMethod
VERIFICATION_METHOD_ONE_TIME_CODE: VerificationMethod
VERIFICATION_METHOD_BIOMETRIC: VerificationMethod
VERIFICATION_METHOD_PASSCODE: VerificationMethod
VERIFICATION_RESULT_UNSPECIFIED: VerificationResult
VERIFICATION_RESULT_PASSED: VerificationResult
VERIFICATION_RESULT_FAILED: VerificationResult
VERIFICATION_RESULT_PARTIAL: VerificationResult
VERIFICATION_RESULT_UNAVAILABLE: VerificationResult
VERIFICATION_RESULT_ABANDONED: VerificationResult
ISSUER_OUTCOME_UNSPECIFIED: IssuerOutcome
ISSUER_OUTCOME_APPROVED: IssuerOutcome
ISSUER_OUTCOME_DECLINED: IssuerOutcome
ISSUER_OUTCOME_AUTHENTICATION_REQUIRED: IssuerOutcome
ISSUER_OUTCOME_TIMED_OUT: IssuerOutcome

class Verification(_message.Message):
    __slots__ = ("method", "result")
    METHOD_FIELD_NUMBER: _ClassVar[int]
    RESULT_FIELD_NUMBER: _ClassVar[int]
    method: VerificationMethod
    result: VerificationResult
    def __init__(self, method: _Optional[_Union[VerificationMethod, str]] = ..., result: _Optional[_Union[VerificationResult, str]] = ...) -> None: ...

class IssuerResponse(_message.Message):
    __slots__ = ("outcome", "response_code")
    OUTCOME_FIELD_NUMBER: _ClassVar[int]
    RESPONSE_CODE_FIELD_NUMBER: _ClassVar[int]
    outcome: IssuerOutcome
    response_code: str
    def __init__(self, outcome: _Optional[_Union[IssuerOutcome, str]] = ..., response_code: _Optional[str] = ...) -> None: ...

class Entities(_message.Message):
    __slots__ = ("account_id", "card_id", "card_bin", "device_id", "ip_address", "email_address", "phone_number", "merchant_id", "payee_id", "shipping_address")
    ACCOUNT_ID_FIELD_NUMBER: _ClassVar[int]
    CARD_ID_FIELD_NUMBER: _ClassVar[int]
    CARD_BIN_FIELD_NUMBER: _ClassVar[int]
    DEVICE_ID_FIELD_NUMBER: _ClassVar[int]
    IP_ADDRESS_FIELD_NUMBER: _ClassVar[int]
    EMAIL_ADDRESS_FIELD_NUMBER: _ClassVar[int]
    PHONE_NUMBER_FIELD_NUMBER: _ClassVar[int]
    MERCHANT_ID_FIELD_NUMBER: _ClassVar[int]
    PAYEE_ID_FIELD_NUMBER: _ClassVar[int]
    SHIPPING_ADDRESS_FIELD_NUMBER: _ClassVar[int]
    account_id: str
    card_id: str
    card_bin: str
    device_id: str
    ip_address: str
    email_address: str
    phone_number: str
    merchant_id: str
    payee_id: str
    shipping_address: str
    def __init__(self, account_id: _Optional[str] = ..., card_id: _Optional[str] = ..., card_bin: _Optional[str] = ..., device_id: _Optional[str] = ..., ip_address: _Optional[str] = ..., email_address: _Optional[str] = ..., phone_number: _Optional[str] = ..., merchant_id: _Optional[str] = ..., payee_id: _Optional[str] = ..., shipping_address: _Optional[str] = ...) -> None: ...

class Regions(_message.Message):
    __slots__ = ("card_region_code", "ip_region_code", "merchant_region_code", "payee_region_code", "billing_region_code", "shipping_region_code")
    CARD_REGION_CODE_FIELD_NUMBER: _ClassVar[int]
    IP_REGION_CODE_FIELD_NUMBER: _ClassVar[int]
    MERCHANT_REGION_CODE_FIELD_NUMBER: _ClassVar[int]
    PAYEE_REGION_CODE_FIELD_NUMBER: _ClassVar[int]
    BILLING_REGION_CODE_FIELD_NUMBER: _ClassVar[int]
    SHIPPING_REGION_CODE_FIELD_NUMBER: _ClassVar[int]
    card_region_code: str
    ip_region_code: str
    merchant_region_code: str
    payee_region_code: str
    billing_region_code: str
    shipping_region_code: str
    def __init__(self, card_region_code: _Optional[str] = ..., ip_region_code: _Optional[str] = ..., merchant_region_code: _Optional[str] = ..., payee_region_code: _Optional[str] = ..., billing_region_code: _Optional[str] = ..., shipping_region_code: _Optional[str] = ...) -> None: ...

class Position(_message.Message):
    __slots__ = ("latitude_degrees", "longitude_degrees")
    LATITUDE_DEGREES_FIELD_NUMBER: _ClassVar[int]
    LONGITUDE_DEGREES_FIELD_NUMBER: _ClassVar[int]
    latitude_degrees: float
    longitude_degrees: float
    def __init__(self, latitude_degrees: _Optional[float] = ..., longitude_degrees: _Optional[float] = ...) -> None: ...

class Transaction(_message.Message):
    __slots__ = ("transaction_id", "type", "event_time", "utc_offset_minutes", "amount_minor", "currency_code", "channel", "entry_mode", "initiation", "verifications", "issuer_response", "original_transaction_id", "entities", "merchant_category_code", "regions", "position", "account_open_time", "numbers", "labels")
    class NumbersEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: float
        def __init__(self, key: _Optional[str] = ..., value: _Optional[float] = ...) -> None: ...
    class LabelsEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    TRANSACTION_ID_FIELD_NUMBER: _ClassVar[int]
    TYPE_FIELD_NUMBER: _ClassVar[int]
    EVENT_TIME_FIELD_NUMBER: _ClassVar[int]
    UTC_OFFSET_MINUTES_FIELD_NUMBER: _ClassVar[int]
    AMOUNT_MINOR_FIELD_NUMBER: _ClassVar[int]
    CURRENCY_CODE_FIELD_NUMBER: _ClassVar[int]
    CHANNEL_FIELD_NUMBER: _ClassVar[int]
    ENTRY_MODE_FIELD_NUMBER: _ClassVar[int]
    INITIATION_FIELD_NUMBER: _ClassVar[int]
    VERIFICATIONS_FIELD_NUMBER: _ClassVar[int]
    ISSUER_RESPONSE_FIELD_NUMBER: _ClassVar[int]
    ORIGINAL_TRANSACTION_ID_FIELD_NUMBER: _ClassVar[int]
    ENTITIES_FIELD_NUMBER: _ClassVar[int]
    MERCHANT_CATEGORY_CODE_FIELD_NUMBER: _ClassVar[int]
    REGIONS_FIELD_NUMBER: _ClassVar[int]
    POSITION_FIELD_NUMBER: _ClassVar[int]
    ACCOUNT_OPEN_TIME_FIELD_NUMBER: _ClassVar[int]
    NUMBERS_FIELD_NUMBER: _ClassVar[int]
    LABELS_FIELD_NUMBER: _ClassVar[int]
    transaction_id: str
    type: TransactionType
    event_time: _timestamp_pb2.Timestamp
    utc_offset_minutes: int
    amount_minor: int
    currency_code: str
    channel: Channel
    entry_mode: EntryMode
    initiation: Initiation
    verifications: _containers.RepeatedCompositeFieldContainer[Verification]
    issuer_response: IssuerResponse
    original_transaction_id: str
    entities: Entities
    merchant_category_code: str
    regions: Regions
    position: Position
    account_open_time: _timestamp_pb2.Timestamp
    numbers: _containers.ScalarMap[str, float]
    labels: _containers.ScalarMap[str, str]
    def __init__(self, transaction_id: _Optional[str] = ..., type: _Optional[_Union[TransactionType, str]] = ..., event_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., utc_offset_minutes: _Optional[int] = ..., amount_minor: _Optional[int] = ..., currency_code: _Optional[str] = ..., channel: _Optional[_Union[Channel, str]] = ..., entry_mode: _Optional[_Union[EntryMode, str]] = ..., initiation: _Optional[_Union[Initiation, str]] = ..., verifications: _Optional[_Iterable[_Union[Verification, _Mapping]]] = ..., issuer_response: _Optional[_Union[IssuerResponse, _Mapping]] = ..., original_transaction_id: _Optional[str] = ..., entities: _Optional[_Union[Entities, _Mapping]] = ..., merchant_category_code: _Optional[str] = ..., regions: _Optional[_Union[Regions, _Mapping]] = ..., position: _Optional[_Union[Position, _Mapping]] = ..., account_open_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., numbers: _Optional[_Mapping[str, float]] = ..., labels: _Optional[_Mapping[str, str]] = ...) -> None: ...
