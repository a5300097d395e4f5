"""Finding rows by tags, the newest first."""

from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from riskengine.errors import StoreFault
from riskengine.store import parquet
from riskengine.store.find import Wanted, find
from riskengine.store.reading import open_parts
from riskengine.types import US_PER_DAY
from tests.store.builders import DAY_US, filled, stream

ROWS = stream(90, days=3)


@pytest.fixture(scope="module")
def data_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with 90 rows over three days in files of several row groups; not to be changed."""
    folder = tmp_path_factory.mktemp("store")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(parquet, "ROW_GROUP_ROWS", 7)
        filled(folder, ROWS)
    return folder


def found(data_dir: Path, **wanted: Any) -> list[int]:
    """Returns the sequences that are found."""
    with open_parts(data_dir) as parts:
        return [row["sequence"] for row in find(parts, Wanted(**wanted))]


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=50)
@given(
    card=st.sampled_from([None, 1, 2, 99]),
    merchant=st.sampled_from([None, 0, 5]),
    since=st.integers(-10, 100),
    until=st.integers(-10, 100),
    count_max=st.sampled_from([1, 3, 7, 1000]),
)
def test_what_is_found_is_what_a_loop_finds(
    data_dir: Path, card: int | None, merchant: int | None, since: int, until: int, count_max: int
) -> None:
    """Goal: the newest, and none that does not match. Method: any conditions, against a loop over all rows."""
    events = ROWS[0]
    step_us = 3 * US_PER_DAY // 90
    since_us, until_us = DAY_US + since * step_us, DAY_US + until * step_us
    tags = {"card_tag": card} if card else {}
    if merchant is not None:
        tags["merchant_tag"] = int(events["merchant_tag"][merchant])
    expected = [
        int(event["sequence"])
        for event in events[::-1]
        if since_us <= event["received_time_us"] < until_us and all(event[name] == tag for name, tag in tags.items())
    ]

    assert expected[:count_max] == found(data_dir, tags=tags, since_us=since_us, until_us=until_us, count_max=count_max)


def test_row_is_found_by_its_name_with_all_its_columns(data_dir: Path) -> None:
    """Goal: one decision. Method: its name; the row has what it had."""
    event = ROWS[0][41]
    name = f"decisions/{int(event['request_key']):016x}{int(event['request_check']):016x}"

    with open_parts(data_dir) as parts:
        (row,) = find(parts, Wanted(decision=name))

    assert (42, name, int(event["card_tag"])) == (row["sequence"], row["decision"], row["card_tag"])
    assert timedelta(microseconds=int(event["received_time_us"]) - DAY_US) < timedelta(days=3)
    assert isinstance(row["numbers"], dict)


def test_damaged_file_is_told(tmp_path: Path) -> None:
    """Goal: damage is no absence. Method: cut a file short."""
    filled(tmp_path, stream(10, days=1))
    (path,) = tmp_path.rglob("*.parquet")
    path.write_bytes(path.read_bytes()[:-9])

    with open_parts(tmp_path) as parts, pytest.raises(StoreFault, match=r"day 2026-03-01.*cannot be read"):
        find(parts, Wanted(tags={"card_tag": 1}))


def test_absent_tags_are_not_found_by_zero(data_dir: Path) -> None:
    """Goal: null is nobody. Method: rows without a payee, looked for by 0."""
    assert not np.any(ROWS[0]["payee_tag"])
    assert [] == found(data_dir, tags={"payee_tag": 0})
