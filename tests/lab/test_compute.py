"""The offline twin: a file of features equals what an engine served, bit for bit, however it was computed."""

import multiprocessing
import resource
import threading
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from riskengine.engine.configuration import Configuration
from riskengine.engine.engine import Engine
from riskengine.enums import DecisionFlag, Kind, ReplyStatus
from riskengine.errors import HistoryError, RiskEngineError
from riskengine.lab.compute import CARRIED, Computed, compute_file
from riskengine.lab.compute.lane import FAILED, READY, Recipe, work
from riskengine.lab.compute.output import room_problem
from riskengine.lab.compute.slots import Layout, shared_memory
from riskengine.lab.compute.team import Team
from riskengine.lab.features import in_order, packer_of
from riskengine.lab.history import open_history, write_history
from riskengine.limits import EngineLimits
from riskengine.settings import ServerSettings
from riskengine.types import EVENT, Array

from .builders import DOOR_OPTIONS, KEY, simulated

SETTINGS = ServerSettings(base_currency="EUR", rates=DOOR_OPTIONS["rates"])
# Small enough that entities are evicted, that tables fill, and that a repetition is forgotten.
LIMITS = EngineLimits(entities_max=150, arena_mib=8, recent_decisions_max=500, batch_rows_max=100)
ROWS = 4_000
HOUR_US = 3_600_000_000


def history_of(rows: int = ROWS) -> pa.Table:
    """Makes a history with all that is awkward: bad rows, repeated ids, labels known before their event, all at one time."""
    table = simulated().slice(0, rows)
    times = table.column("event_time").cast(pa.int64()).to_numpy()
    ids = table.column("transaction_id").to_pylist()
    amounts = table.column("amount_minor").to_pylist()
    merchants = table.column("merchant_id").to_pylist()
    merchants[::2] = ["crowded" if name else None for name in merchants[::2]]  # Its curve is thinned.
    fraud = np.arange(rows) % 17 == 0
    known = times + HOUR_US * np.where(np.arange(rows) % 2, 5, 48)
    known[::51] = times[::51] - 2 * HOUR_US  # Later than the lateness that is allowed: not folded.
    known[17::51] = times[17::51] - HOUR_US // 2  # Late, and folded.
    known[1000:2000] = times[2500]  # More labels at once than a small chunk has events.
    for row in range(10, rows - 700, 211):
        ids[row + 3] = ids[row]  # Soon enough to be known.
        ids[row + 650] = ids[row]  # Forgotten by then.
        amounts[row + 5] = -1
    for name, column in (
        ("transaction_id", pa.array(ids)),
        ("amount_minor", pa.array(amounts, pa.int64())),
        ("merchant_id", pa.array(merchants)),
        ("fraud", pa.array(fraud)),
        ("fraud_label_time", pa.array(np.where(fraud, known, 0), pa.timestamp("us", "UTC"), mask=~fraud)),
        ("number_basket_items", pa.array(np.arange(rows) / 7, mask=np.arange(rows) % 3 == 0)),
    ):
        at = table.schema.get_field_index(name)
        table = table.append_column(name, column) if at < 0 else table.set_column(at, table.schema.field(name), column)
    return table


@pytest.fixture(scope="module")
def history(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The awkward history as a file."""
    path = tmp_path_factory.mktemp("history") / "h.parquet"
    write_history(history_of(), path)
    return path


class Served:
    """A history that an engine served, command by command: the features that its decisions were taken from."""

    def __init__(self, folder: Path, history: Path, configuration: Configuration, limits: EngineLimits) -> None:
        engine = Engine.open(folder, configuration, limits=limits, segment_bytes=4 << 20)
        self.names = configuration.features.names
        features: list[Any] = []
        valid: list[Any] = []
        decide = engine.pipeline.decide

        def watched(events: Any, row: Any, there: Any, flags: Any) -> Any:
            scored = events.view(EVENT).reshape(-1)["kind"] == Kind.SCORE
            features.append(row[scored, : len(self.names)].copy())
            valid.append(there[scored, : len(self.names)].copy())
            return decide(events, row, there, flags)

        engine.pipeline.decide = watched  # type: ignore[method-assign, assignment]
        decisions: list[Array] = []
        packer = packer_of(SETTINGS, KEY, configuration)
        for events, *_ in in_order(open_history(history).batches(), packer):
            for first in range(0, len(events), 64):
                batch = np.ascontiguousarray(events[first : first + 64])
                statuses, decided = engine.commit(batch)
                new = (statuses == ReplyStatus.DECIDED) & (batch["kind"] == Kind.SCORE)
                decisions.append(decided[new])
        self.refused = bool(engine.state.store.counters[2])
        engine.close()
        self.valid = np.concatenate(valid) == 1
        self.bits = np.where(self.valid, np.concatenate(features), 0.0).view(np.int64)
        self.flags = np.concatenate(decisions)["flags"]


def assert_as_served(path: Path, served: Served) -> pa.Table:
    """Asserts that a file holds what was served, every bit."""
    table = pq.read_table(path)
    assert (len(served.bits), list(served.names)) == (len(table), table.column_names[-len(served.names) :])
    for column, name in enumerate(served.names):
        values = table.column(name)
        assert np.array_equal(served.valid[:, column], values.is_valid().to_numpy()), name
        assert np.array_equal(served.bits[:, column], values.fill_null(0.0).to_numpy().view(np.int64)), name
    approximate = (served.flags & DecisionFlag.APPROXIMATE) != 0
    assert approximate.tolist() == table.column("approximate").to_pylist()
    return table


@pytest.fixture(scope="module")
def configuration(rules_only: Configuration) -> Configuration:
    """The starter's, under small limits."""
    return replace(rules_only, limits=LIMITS)


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory, history: Path, configuration: Configuration) -> Served:
    """What the engine served."""
    return Served(tmp_path_factory.mktemp("served"), history, configuration, LIMITS)


def compute(history: Path, target: Path, configuration: Configuration, **options: Any) -> Computed:
    """Computes a file."""
    return compute_file(open_history(history), target, configuration, SETTINGS, KEY, **options)


@pytest.mark.parametrize(
    ("processes", "chunk_rows"), [(1, 5_000), (1, 61), (2, 997), pytest.param(3, 313, marks=pytest.mark.slow)]
)
def test_file_is_what_was_served(
    tmp_path: Path, history: Path, configuration: Configuration, served: Served, processes: int, chunk_rows: int
) -> None:
    """Goal: train and serve on the same bits. Method: an engine's own features of every decision against the file."""
    told: list[tuple[int, int]] = []
    computed = compute(
        history,
        tmp_path / "f.parquet",
        configuration,
        processes=processes,
        chunk_rows=chunk_rows,
        on_progress=lambda done, total: told.append((done, total)),
    )

    table = assert_as_served(tmp_path / "f.parquet", served)
    assert (len(table), len(served.names), False) == (computed.row_count, computed.feature_count, computed.together)
    assert computed.problem_count > 10
    assert computed.repeated_count > 10
    assert ROWS == computed.row_count + computed.problem_count + computed.repeated_count
    assert (ROWS, ROWS) == told[-1]
    assert [] == [each for each in tmp_path.iterdir() if each.name != "f.parquet"]


def test_what_was_served_has_all_that_is_compared(served: Served) -> None:
    """Goal: the comparison above is worth something. Method: every feature is there somewhere, most vary, some are estimates."""
    there = served.valid.any(axis=0)
    vary = [len(np.unique(served.bits[served.valid[:, column], column])) > 1 for column in range(len(served.names))]

    assert {"numbers.stored_balance"} == {name for name, seen in zip(served.names, there, strict=True) if not seen}
    assert sum(vary) > 100
    assert vary[served.names.index("account.fraud_outcome_count_30d")]
    assert vary[served.names.index("card.burst_ratio_1h")]
    assert 0 < ((served.flags & DecisionFlag.APPROXIMATE) != 0).sum() < len(served.flags)


def test_arena_that_serving_fills_is_filled_alike(tmp_path: Path, configuration: Configuration) -> None:
    """Goal: processes do not remember what one engine had no room for. Method: an arena that is too small for all types."""
    limits = replace(LIMITS, entities_max=2_000, arena_mib=1)
    small = replace(configuration, limits=limits)
    write_history(simulated().slice(0, 9_000), tmp_path / "h.parquet")
    served = Served(tmp_path / "served", tmp_path / "h.parquet", small, limits)
    told: list[int] = []

    computed = compute(
        tmp_path / "h.parquet",
        tmp_path / "f.parquet",
        small,
        processes=2,
        chunk_rows=500,
        on_progress=lambda done, _total: told.append(done),
    )

    assert served.refused, "the arena is not full, so this shows nothing"
    assert computed.together
    assert_as_served(tmp_path / "f.parquet", served)
    assert told != sorted(told), "nothing was tried in parts"


def test_file_says_what_its_columns_are(tmp_path: Path, history: Path, configuration: Configuration) -> None:
    """Goal: a data scientist finds ids, labels and meanings. Method: columns and metadata, with one column kept."""
    compute(history, tmp_path / "f.parquet", configuration, keep=["merchant_id", "fraud"])
    table = pq.read_table(tmp_path / "f.parquet")
    field = table.schema.field("card.amount_sum_24h")

    assert [*CARRIED, "merchant_id", "approximate"] == table.column_names[: len(CARRIED) + 2]
    expected = {row["transaction_id"]: row for row in history_of().to_pylist()[:400]}
    for row in table.slice(0, 5).to_pylist():
        source = expected[row["transaction_id"]]
        assert [source[name] for name in (*CARRIED, "merchant_id")] == [row[name] for name in (*CARRIED, "merchant_id")]
    column = configuration.features.names.index("card.amount_sum_24h")
    assert configuration.features.hashes[column].encode() == field.metadata[b"definition"]
    assert (b"units of txn.amount", pa.float64()) == (field.metadata[b"unit"], field.type)


def test_column_that_is_not_there_cannot_be_kept(tmp_path: Path, history: Path, configuration: Configuration) -> None:
    """Goal: a slip is told before any work. Method: a name with a typo."""
    with pytest.raises(HistoryError, match=r'no column "merchant_ib" to keep; did you mean "merchant_id"\?'):
        compute(history, tmp_path / "f.parquet", configuration, keep=["merchant_ib"])


def test_history_without_events_gives_a_file_without_rows(tmp_path: Path, configuration: Configuration) -> None:
    """Goal: nothing special happens at nothing. Method: a history of bad rows only."""
    table = simulated().slice(0, 3)
    bad = table.set_column(table.schema.get_field_index("amount_minor"), "amount_minor", pa.array([-1] * 3, pa.int64()))
    write_history(bad, tmp_path / "h.parquet")

    computed = compute(tmp_path / "h.parquet", tmp_path / "f.parquet", configuration)

    assert (0, 3) == (computed.row_count, computed.problem_count)
    assert 0 == pq.read_table(tmp_path / "f.parquet").num_rows


@pytest.mark.parametrize("processes", [1, 2])
def test_what_stops_it_leaves_the_old_file_and_no_process(
    tmp_path: Path, history: Path, configuration: Configuration, processes: int
) -> None:
    """Goal: no half file. Method: Ctrl-C after the first chunk; a file of that name was there before."""
    (tmp_path / "f.parquet").write_text("old")

    def stop(_done: int, _total: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        compute(history, tmp_path / "f.parquet", configuration, processes=processes, chunk_rows=500, on_progress=stop)

    assert ["f.parquet"] == [each.name for each in tmp_path.iterdir()]
    assert "old" == (tmp_path / "f.parquet").read_text()
    assert [] == multiprocessing.active_children()


def test_process_that_is_killed_ends_all_with_a_word(
    tmp_path: Path, history: Path, configuration: Configuration
) -> None:
    """Goal: nobody waits for the dead. Method: kill the other process after the first chunk, as a system without memory would."""

    def kill(_done: int, _total: int) -> None:
        for child in multiprocessing.active_children():
            child.kill()

    with pytest.raises(RiskEngineError, match=r"ended \(exit code -9\).*fewer --processes"):
        compute(history, tmp_path / "f.parquet", configuration, processes=2, chunk_rows=200, on_progress=kill)

    assert [] == list(tmp_path.iterdir())
    assert [] == multiprocessing.active_children()


def recipes(configuration: Configuration, schema: pa.Schema) -> list[Recipe]:
    """Makes two lanes that only pack, the other process of another opinion about the schema."""
    nothing = np.empty(0, np.int64)
    own = open_schema()
    return [Recipe(lane, configuration, nothing, SETTINGS, KEY, each) for lane, each in enumerate((own, schema))]


def open_schema() -> pa.Schema:
    return simulated().schema


def test_error_in_a_process_is_raised_here_with_its_traceback(configuration: Configuration) -> None:
    """Goal: a fault far away can be found. Method: a process that cannot read the batches that it gets."""
    batch = simulated().slice(0, 10).to_batches()[0]
    layout = Layout(rows_max=10, column_count=1, lanes=2, packs=1, folds=1)

    with (
        pytest.raises(RuntimeError, match=r"(?s)failed: KeyError.*Traceback") as caught,
        Team(recipes(configuration, pa.schema([])), [0.0, 0.0], layout) as team,
    ):
        team.packed(team.pack(0, batch))

    assert "riskengine/lab/compute/lane.py" in str(caught.value)
    assert [] == multiprocessing.active_children()


def test_lane_ends_with_its_pipe_and_tells_what_is_wrong(configuration: Configuration) -> None:
    """Goal: no process outlives its parent. Method: its main function in a thread; the pipe closes, or brings garbage."""
    context = multiprocessing.get_context("spawn")
    layout = Layout(rows_max=10, column_count=1, lanes=1, packs=1, folds=1)
    recipe = recipes(configuration, open_schema())[1]
    for garbage in (False, True):
        here, there = context.Pipe()
        thread = threading.Thread(target=work, args=(recipe, layout, shared_memory(context, layout), there))
        thread.start()
        assert (READY, None) == here.recv()
        if garbage:
            here.send((1, "pack", 0, 10))
            here.send_bytes(b"no batch")
            number, (message, trace) = here.recv()
            assert (FAILED, True) == (number, "Traceback" in trace and bool(message))
        here.close()
        thread.join(10)

        assert not thread.is_alive()


def test_full_disk_is_told_and_leaves_nothing(tmp_path: Path, history: Path, configuration: Configuration) -> None:
    """Goal: what to do is told. Method: no file of this process may grow beyond 100 kB."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, before[1]))
    try:
        with pytest.raises(HistoryError, match=r"f\.parquet: cannot be written: File too large; make room"):
            compute(history, tmp_path / "f.parquet", configuration)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)

    assert [] == list(tmp_path.iterdir())


def test_folder_that_is_not_there_is_told(tmp_path: Path, history: Path, configuration: Configuration) -> None:
    """Goal: the same words for whatever cannot be written. Method: a folder that does not exist."""
    with pytest.raises(HistoryError, match="cannot be written: No such file or directory; name a file in a folder"):
        compute(history, tmp_path / "nowhere" / "f.parquet", configuration)


def test_room_is_judged_by_what_was_written() -> None:
    """Goal: a disk that will be full is told early. Method: a tenth written, with just enough and with less left."""
    assert "" == room_problem(written=1_000_000, rows_done=100, rows=1_000, free=9_000_000)
    problem = room_problem(written=1_000_000, rows_done=100, rows=1_000, free=8_999_999)
    assert problem == "it will take 10.0 MB, and beside what is written only 9.0 MB are free"
