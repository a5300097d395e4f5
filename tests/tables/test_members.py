"""How far off an overfull last-seen table is: measured over many tables with seeded tags. Too slow for interpreted kernels."""

import numpy as np
import pytest

from tests.tables.test_kernels_members import WORD, Table

CAP = 64
TABLES = 200
MEMBERS = 3000


@pytest.fixture(scope="module")
def answers() -> dict[int, np.ndarray]:
    """Returns by window what each table says of its last so many members, one at a time: (estimate, level)."""
    generator = np.random.Generator(np.random.PCG64(11))
    windows = (5, 128, 750, MEMBERS)
    told = np.zeros((len(windows), TABLES, 2), np.int64)
    for index in range(TABLES):
        table = Table(CAP)
        table.relation[:] = [0, 0, WORD, CAP, -1, 0, 0, 10 * MEMBERS, 10 * MEMBERS]
        tags = generator.integers(-(2**63), 2**63 - 1, MEMBERS).tolist()
        for time, member in enumerate(tags, start=1):
            table.touch(member, time)
        told[:, index] = [table.count(MEMBERS - window) for window in windows]
    return dict(zip(windows, told, strict=True))


@pytest.mark.parametrize("window", [128, 750, MEMBERS])
def test_error_stays_within_what_is_stated(answers: dict[int, np.ndarray], window: int) -> None:
    """Goal: the standard error is known. Method: 200 tables, 47 times more members than the cap; the bounds of the docstring.

    The error of one level alone is exceeded, because the same tags choose the level: by a quarter at most.
    """
    estimates, levels = answers[window].T
    level_of_longest = float(answers[MEMBERS][:, 1].mean())
    errors = estimates / window - 1

    spread = float(errors.std())

    assert levels.min() > 0, "nothing was estimated"
    assert spread <= ((level_of_longest + 2) / CAP) ** 0.5
    assert spread <= 1.25 * float(np.sqrt(((2.0**levels - 1) / window).mean()))


@pytest.mark.parametrize("window", [128, 750, MEMBERS])
def test_estimates_are_not_biased(answers: dict[int, np.ndarray], window: int) -> None:
    """Goal: no systematic error. Method: the mean of 200 errors, within three standard errors of the mean.

    A window that ends near the reach of a level may be told up to a quarter of its standard error low: one given up is there.
    """
    errors = answers[window][:, 0] / window - 1
    allowed = 3 / TABLES**0.5
    low = 0.25 if window < MEMBERS else 0.0

    in_standard_errors = float(errors.mean() / errors.std())

    assert -allowed - low <= in_standard_errors <= allowed


def test_short_window_is_exact_in_a_table_that_is_far_too_full(answers: dict[int, np.ndarray]) -> None:
    """Goal: what happens now is not blurred by a month. Method: the last 5 of 3,000 members, 200 times."""
    estimates, levels = answers[5].T

    assert {5} == set(estimates.tolist())
    assert {0} == set(levels.tolist())


def test_levels_rise_with_the_members_and_share_the_entries(answers: dict[int, np.ndarray]) -> None:
    """Goal: all reaches are answered equally well. Method: of each window's level some 2 * CAP / (K + 2) entries tell it."""
    share = 2 * CAP / (answers[MEMBERS][:, 1].mean() + 2)

    for window in (128, 750, MEMBERS):
        estimates, levels = answers[window].T
        kept = (estimates >> levels).mean()
        assert share / 2 < kept < 1.5 * share
