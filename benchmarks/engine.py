"""How many events a second does one engine fold, score and make durable on one core?

Prediction: the fold touches about 60 cache lines that are rarely in a cache (5 µs), the forest of 300 trees costs 3 µs,
conditions, rules and lists 2 µs, a frame of 256 rows with its sync 1 µs an event: about 11 µs, 90,000 events/s on an idle core.
Budget: at least 30,000 events/s folded and scored, 80,000 folded only.

The history is simulated (seeded), the configuration is the starter's with its model live. The peer is xgboost's own batch
prediction of the same rows by the same forest in the same run, on one thread: `ratio` is how many whole decisions are made
in the time of one such prediction. A digest of all decisions is printed: it is the same on every run of one machine.
"""

import argparse
import hashlib
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import xgboost
from rich.console import Console
from rich.progress import track
from rich.table import Table

from benchmarks.record import record
from riskengine.engine.configuration import Configuration, build_configuration
from riskengine.engine.engine import Engine
from riskengine.engine.pipeline import Pipeline
from riskengine.engine.state import State
from riskengine.enums import Kind
from riskengine.lab.booster import FitSettings
from riskengine.lab.features import compute_features, in_order, packer_of
from riskengine.lab.history import open_history, write_history
from riskengine.lab.simulate import SimulationConfig, simulate
from riskengine.lab.train import train_model
from riskengine.limits import EngineLimits
from riskengine.settings import ServerSettings, load_settings
from riskengine.types import Array, words
from riskengine.wire.pseudonyms import TagKey
from riskengine.yamlfile import load_file

DEFAULTS = Path(__file__).resolve().parent.parent / "riskengine" / "defaults"
KEY = TagKey(bytes(range(32)))
LIMITS = EngineLimits(entities_max=200_000, arena_mib=1024, recent_decisions_max=200_000)
COMMIT_ROWS = 256


def configure(model_path: Path | None) -> Configuration:
    """Loads the starter configuration with its model live."""
    policy = load_file(DEFAULTS / "policy.yaml")
    policy.data["model"]["mode"] = "live"
    return build_configuration(
        load_file(DEFAULTS / "features.yaml"),
        policy,
        load_file(DEFAULTS / "reason_codes.yaml"),
        limits=LIMITS,
        base_currency="EUR",
        model_path=model_path,
        tag=lambda entity, value: 1,
    )


def prepare(
    folder: Path, settings: ServerSettings, *, people: int, days: int, rounds: int
) -> tuple[Configuration, Array]:
    """Simulates a history, trains a model on it, and packs it into events; outside the clock."""
    history = folder / "history.parquet"
    write_history(simulate(SimulationConfig(seed=7, people=people, days=days)), history)
    untrained = configure(None)
    packer = packer_of(settings, KEY, untrained)
    trained = train_model(
        history,
        untrained,
        packer,
        name="bench",
        model_dir=folder / "models",
        created_time_us=0,
        rounds=rounds,
        settings=FitSettings(max_bin=256),
    )
    events = np.concatenate([chunk[0] for chunk in in_order(open_history(history).batches(), packer)])
    events["payload_hash"] = 1
    return configure(trained.path), events


def fold_only(configuration: Configuration, events: Array) -> float:
    """Returns events a second of a fold without scoring, as recovery does it."""
    recorded = events.copy()
    recorded["kind"][recorded["kind"] == Kind.SCORE] = Kind.RECORD
    pipeline = Pipeline(configuration, State(configuration.features, LIMITS), LIMITS)
    started = time.perf_counter()
    for first in range(0, len(recorded), LIMITS.batch_rows_max):
        pipeline.fold(words(recorded[first : first + LIMITS.batch_rows_max]))
    return len(events) / (time.perf_counter() - started)


def fold_and_score(configuration: Configuration, events: Array, folder: Path) -> dict[str, Any]:
    """Commits everything through an engine with a real journal; returns figures and the digest of the decisions."""
    engine = Engine.open(folder, configuration, limits=LIMITS)
    digest = hashlib.blake2b(digest_size=8)
    fresh = events.copy()
    started = time.perf_counter()
    for first in range(0, len(fresh), COMMIT_ROWS):
        _, decisions = engine.commit(fresh[first : first + COMMIT_ROWS])
        digest.update(words(decisions).tobytes())
    elapsed = time.perf_counter() - started
    timings = engine.timings
    parts = ("fold_ns", "model_ns", "policy_ns", "frame_ns", "sync_ns")
    engine.close()
    return {
        "durable_events_per_s": len(events) / elapsed,
        **{f"{part[:-3]}_us": getattr(timings, part) / len(events) / 1000 for part in parts},
        "other_us": elapsed / len(events) * 1e6 - sum(getattr(timings, part) for part in parts) / len(events) / 1000,
        "digest": digest.hexdigest(),
    }


def xgboost_rows_per_s(configuration: Configuration, settings: ServerSettings, history: Path) -> float:
    """Returns rows a second of xgboost's batch prediction by the same forest, on one thread."""
    assert configuration.model is not None
    assert configuration.model_path is not None
    booster = xgboost.Booster({"nthread": 1})
    booster.load_model(configuration.model_path / "model.json")
    table = compute_features(open_history(history), configuration, packer_of(settings, KEY, configuration))
    rows = np.ascontiguousarray(table.features[:, configuration.model.columns])
    booster.inplace_predict(rows[:1000], validate_features=False)
    started = time.perf_counter()
    booster.inplace_predict(rows, validate_features=False)
    return len(rows) / (time.perf_counter() - started)


def main() -> None:
    """Runs and prints."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--smoke", action="store_true", help="few events, few trees")
    parser.add_argument("--out", type=Path, help="append the JSON line to this file")
    options = parser.parse_args()
    size = {"people": 300, "days": 25, "rounds": 40} if options.smoke else {"people": 6_000, "days": 35, "rounds": 300}
    runs = 1 if options.smoke else 3
    settings = load_settings(DEFAULTS / "server.yaml")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        configuration, events = prepare(folder, settings, **size)
        folds, scores, peers = [], [], []
        for run in track(range(runs), description="measuring", transient=True):
            folds.append(fold_only(configuration, events))
            scores.append(fold_and_score(configuration, events, folder / f"data{run}"))
            peers.append(xgboost_rows_per_s(configuration, settings, folder / "history.parquet"))
    assert len({score["digest"] for score in scores}) == 1, "the same events got other decisions"
    middle = sorted(scores, key=lambda score: score["durable_events_per_s"])[runs // 2]
    results = {
        "fold_only_events_per_s": round(float(np.median(folds))),
        **{key: value if isinstance(value, str) else round(value, 2) for key, value in middle.items()},
        "xgboost_rows_per_s": round(float(np.median(peers))),
        "ratio": float(np.median([s["durable_events_per_s"] / p for s, p in zip(scores, peers, strict=True)])),
    }
    table = Table("figure", "value", title=f"engine, {len(events):,} events, one core")
    for key, value in results.items():
        table.add_row(key, f"{value:,}" if isinstance(value, int | float) else value)
    Console().print(table)
    if not options.smoke or options.out:
        parameters = {**size, "events": len(events), "commit_rows": COMMIT_ROWS}
        record("engine", parameters=parameters, results=results, path=options.out)


if __name__ == "__main__":
    main()
