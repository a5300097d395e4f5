"""server.yaml: the starter file, every mistake, and what the fallback answers."""

import ast
import tempfile
from collections.abc import Sequence
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import riskengine.settings as module
from riskengine.errors import ConfigError, Problem
from riskengine.limits import EngineLimits
from riskengine.settings import ServerSettings, load_settings
from riskengine.wire.money import load_rates
from riskengine.yamlfile import load_file

STARTER = Path(module.__file__).parent / "defaults" / "server.yaml"

MISTAKES = [
    ("listen: localhost", "1:9: listen: must be HOST:PORT, such as 127.0.0.1:50051 or [::]:50051"),
    ("listen: localhost:99999", "1:9: listen: must be HOST:PORT, such as 127.0.0.1:50051 or [::]:50051"),
    ("data_dri: x", '1:1: unknown key "data_dri"; did you mean "data_dir"?'),
    ("data_dir: ''", "1:11: data_dir: must be a path"),
    ("base_currency: EURO", "1:16: base_currency must be an ISO 4217 code of three capital letters, such as EUR"),
    ("rates: {USD: 1.08}", "1:14: USD must be text; put it in quotes"),
    ("rates: {usd: '1.08'}", "1:9: the name usd must be an ISO 4217 code of three capital letters, such as EUR"),
    ("rates: {USD: '-1'}", '1:14: USD: must be a decimal greater than 0 in quotes, such as "1.0842"'),
    ("rates: {USD: '1e3'}", '1:14: USD: must be a decimal greater than 0 in quotes, such as "1.0842"'),
    ("rates: {USD: '0.0'}", '1:14: USD: must be a decimal greater than 0 in quotes, such as "1.0842"'),
    ("rates: {EUR: '2'}", "1:14: the rate of EUR, the base currency, is 1; remove it"),
    ("base_currency: XYZ", "1:16: XYZ is not an ISO 4217 code with a minor unit"),
    ("base_currency: QQQ\nrates: {EUR: '2'}", "1:16: QQQ is not an ISO 4217 code with a minor unit"),
    ("base_currency: QQQ\nrates: {QQQ: '1'}", "2:9: QQQ is not an ISO 4217 code with a minor unit"),
    ("rates: {QQQ: '1.5'}", "1:9: QQQ is not an ISO 4217 code with a minor unit"),
    ("rates: {EUT: '1.5'}", '1:9: EUT is not an ISO 4217 code with a minor unit; did you mean "EUR"?'),
    ("rates: {USD: '1234567890.1234567890'}", "1:14: the rate of USD must have at most 18 digits"),
    (
        "rates: {USD: '9223373'}",
        "1:14: the rate of USD is so high that an allowed amount would not fit into 64 bits",
    ),
    ("fronts: 0", "1:9: fronts must be at least 1"),
    ("clock_skew_s: -1", "1:15: clock_skew_s must be at least 0"),
    ("deadline: {default_ms: 0}", "1:24: default_ms must be at least 1"),
    ("deadline: {default_ms: 900, max_ms: 100}", "1:11: deadline: default_ms must not be above max_ms"),
    ("limits: {entities_maxx: 5}", '1:10: unknown key "entities_maxx"; did you mean "entities_max"?'),
    ("limits: {batch_rows_max: 0}", "1:26: batch_rows_max must be at least 64"),
    ("journal_segment_mib: 64.5", "1:22: journal_segment_mib must be a whole number"),
    (
        "pan_exempt_fields: [acount_id]",
        "1:21: item 1 of pan_exempt_fields must be one of account_id, card_id, device_id, merchant_id, payee_id; "
        'did you mean "account_id"?',
    ),
    ("fallback: {above: maybe}", "1:19: above must be one of approve, review, decline, error"),
    (
        "fallback: {bands: [{amount_minor_max: 9, verdict: review}, {amount_minor_max: 9, verdict: decline}]}",
        "1:11: fallback: the amount_minor_max of the bands must rise from one to the next",
    ),
]


@pytest.mark.parametrize(("text", "message"), MISTAKES)
def test_mistake_is_told(text: str, message: str, tmp_path: Path) -> None:
    """Goal: an operator finds the mistake. Method: one bad file each, with its exact message."""
    with pytest.raises(ConfigError) as refused:
        load_settings(write(tmp_path, text))

    assert [f"server.yaml:{message}"] == [str(problem) for problem in refused.value.problems]


@given(
    st.sampled_from(["EUR", "JPY", "CLF", "XXX"]),
    st.dictionaries(
        st.sampled_from(["EUR", "JPY", "KWD", "CLF", "USD", "XAU", "ABC"]),
        st.from_regex(r"[0-9]{1,12}(\.[0-9]{1,12})?", fullmatch=True),
        max_size=4,
    ),
)
def test_rates_that_load_can_be_used(base: str, rates: dict[str, str]) -> None:
    """Goal: a server that starts can answer. Method: any rates; what loads makes a converter, what does not names a place."""
    lines = [f"base_currency: {base}", "rates:", *(f"  {code}: '{rate}'" for code, rate in rates.items())]
    with tempfile.TemporaryDirectory() as folder:
        path = write(Path(folder), "\n".join(lines if rates else lines[:1]))
        settings, problems = load_or_tell(path)

    assert all(problem.line and problem.column for problem in problems)
    assert problems or {base, *rates} == set(load_rates(base_currency=settings.base_currency, rates=settings.rates))


def load_or_tell(path: Path) -> tuple[ServerSettings, Sequence[Problem]]:
    """Loads a server.yaml, or returns what is wrong with it."""
    try:
        return load_settings(path), ()
    except ConfigError as refused:
        return ServerSettings(), refused.problems


def write(folder: Path, text: str) -> Path:
    """Writes a server.yaml."""
    path = folder / "server.yaml"
    path.write_text(text)
    return path


def test_paths_count_from_the_folder_of_the_file(tmp_path: Path) -> None:
    """Goal: it does not matter where the server is started. Method: relative and absolute paths."""
    settings = load_settings(write(tmp_path, "data_dir: here\ntag_key_file: /elsewhere/key\n"))

    assert (tmp_path / "here", Path("/elsewhere/key")) == (settings.data_dir, settings.tag_key_file)
    assert tmp_path / "models" == settings.model_dir


def test_starter_file_shows_the_defaults(tmp_path: Path) -> None:
    """Goal: the file's comments do not lie. Method: all but rates and fallback equal what an empty file gives."""
    starter, empty = load_settings(write(tmp_path, STARTER.read_text())), load_settings(write(tmp_path, "{}"))

    assert empty == starter.model_copy(update={"rates": {}, "fallback": empty.fallback})
    assert starter.rates


def test_starter_file_shows_every_option() -> None:
    """Goal: an operator need not read Python. Method: the keys of the file against the fields, section by section."""
    starter = load_file(STARTER).data

    assert set(ServerSettings.model_fields) == set(starter)
    for section in ("front", "deadline", "limits", "fallback"):
        model = type(getattr(ServerSettings(), section))
        assert set(model.model_fields) == set(starter[section]), section


def test_limits_are_those_of_the_engine() -> None:
    """Goal: one set of defaults. Method: settings without a word against EngineLimits."""
    assert EngineLimits() == ServerSettings().limits.engine_limits()


@pytest.mark.parametrize(
    ("amount", "verdict"),
    [(0, "approve"), (2000, "approve"), (2001, "review"), (20_000, "review"), (20_001, "decline")],
)
def test_fallback_by_amount(amount: int, verdict: str, tmp_path: Path) -> None:
    """Goal: a declared answer for every amount. Method: the starter's bands at their borders."""
    fallback = load_settings(write(tmp_path, STARTER.read_text())).fallback

    assert verdict == fallback.verdict_of(amount)


def test_fallback_is_an_error_where_none_is_declared() -> None:
    """Goal: nothing is approved by accident. Method: settings without a word."""
    assert ("error", "error") == (ServerSettings().fallback.verdict_of(1), ServerSettings().fallback.verdict_of(None))


def test_every_option_has_its_sentence() -> None:
    """Goal: no option without an explanation. Method: each field of each model is followed by a string."""
    source = ast.parse(Path(module.__file__).read_text())
    models = [node for node in source.body if isinstance(node, ast.ClassDef) and node.name != "_Strict"]
    bare = [
        f"{model.name}.{field.target.id}"
        for model in models
        for field, following in zip(model.body, [*model.body[1:], None], strict=True)
        if isinstance(field, ast.AnnAssign) and isinstance(field.target, ast.Name)
        if not (isinstance(following, ast.Expr) and isinstance(following.value, ast.Constant))
    ]

    assert len(models) >= 5
    assert [] == bare
