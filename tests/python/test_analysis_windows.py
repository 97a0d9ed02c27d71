"""rolling and zscore_anomalies, against numpy over every single window (pandas 1.5 is wrong after a large value)."""

import warnings
from datetime import timedelta

import numpy as np
import pandas as pd
import pytest

from krait import _analysis_window, analysis

STATISTICS = {"max": np.max, "mean": np.mean, "median": np.median, "min": np.min, "std": np.std, "sum": np.sum}


def _data(rows, seed=0):
    return np.random.default_rng(seed).normal(100, 15, rows)


def _expected(column, window, statistic, min_periods, ddof=1, at=None):
    """The statistic of each window by itself, straight from its definition."""
    out = np.full(len(column), np.nan)
    for row in range(len(column)) if at is None else at:
        values = column[max(0, row - window + 1) : row + 1]
        values = values[np.isfinite(values)]
        if len(values) >= min_periods and (statistic != "std" or len(values) > ddof):
            more = {"ddof": ddof} if statistic == "std" else {}
            out[row] = STATISTICS[statistic](values, **more)
    return out if at is None else out[at]


@pytest.mark.parametrize("statistic", STATISTICS)
@pytest.mark.parametrize("window", [1, 2, 3, 7, 8, 20, 99, 100, 101, 5000])
@pytest.mark.parametrize("holes", [False, True])
def test_rolling_is_that_of_every_window(statistic, window, holes):
    column = _data(100)
    if holes:
        column[[0, 13, 14, 15, 60]] = np.nan
        column[70] = np.inf
    for least in {1, min(3, window), window}:
        got = analysis.rolling(column, window, statistic, min_periods=least)
        np.testing.assert_allclose(got, _expected(column, window, statistic, least), rtol=1e-12, atol=1e-13)
    np.testing.assert_array_equal(
        analysis.rolling(column, window, statistic),
        analysis.rolling(column, window, statistic, min_periods=window),
    )


@pytest.mark.parametrize("statistic", STATISTICS)
def test_rolling_is_that_of_pandas(statistic):
    data = np.c_[_data(500), _data(500, 1), np.arange(500.0)]
    data[100:103, 1] = np.nan
    for window, least in ((20, None), (20, 1), (252, 10)):
        expected = getattr(pd.DataFrame(data).rolling(window, min_periods=least), statistic)()
        got = analysis.rolling(data, window, statistic, min_periods=least)
        np.testing.assert_allclose(got, expected.to_numpy(), rtol=1e-12, atol=1e-9 if statistic == "std" else 0)


@pytest.mark.parametrize("statistic", STATISTICS)
@pytest.mark.parametrize("least", [None, 1])
@pytest.mark.parametrize("large", [1e8, 1e16, 1e150, -1e16])
def test_a_large_value_leaves_no_trace(statistic, least, large):
    column = np.random.default_rng(0).normal(size=200)
    column[[0, 50, 51, 120]] = large
    got = analysis.rolling(column, 10, statistic, min_periods=least)
    np.testing.assert_allclose(got, _expected(column, 10, statistic, least or 10), rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("value", [0.1, 1 / 3, 1e-5, 123456.789])
@pytest.mark.parametrize("window", [2, 3, 7, 20, 33])
@pytest.mark.parametrize("least", [None, 2])
def test_equal_values_have_a_deviation_of_exactly_0(value, window, least):
    column = np.r_[_data(40) * 1e6, np.full(80, value)]
    got = analysis.rolling(column, window, "std", min_periods=least)
    assert (got[40 + window - 1 :] == 0).all()
    assert (got[window:40] > 0).all()


@pytest.mark.parametrize("statistic", STATISTICS)
@pytest.mark.parametrize("window", [5, 3000, 12000])
@pytest.mark.parametrize("holes", [False, True])
def test_blocks_of_rows_meet_without_a_seam(statistic, window, holes):
    """Long columns are worked on in blocks; look around each edge, and at some rows between."""
    rows = 3 * _analysis_window._BLOCK + 100
    data = np.c_[_data(rows), _data(rows, 1)]
    if holes:
        data[::500, 1] = np.nan
    edges = [edge + step for edge in range(0, rows, _analysis_window._BLOCK) for step in (-1, 0, 1, 2)]
    at = np.array(sorted({row for row in [*edges, window - 2, window - 1, window, rows - 1] if 0 <= row < rows}))
    least = min(window, 4)
    got = analysis.rolling(data, window, statistic, min_periods=least if holes else None)
    for column in range(2):
        expected = _expected(data[:, column], window, statistic, least if holes else window, at=at)
        if not holes:
            expected[at < window - 1] = np.nan
        np.testing.assert_allclose(got[at, column], expected, rtol=1e-11)


@pytest.mark.parametrize("ddof", [0, 1, 2, 5])
@pytest.mark.parametrize("least", [None, 1])
def test_rolling_std_takes_ddof_from_the_count(ddof, least):
    column = _data(60)
    got = analysis.rolling(column, 5, "std", ddof=ddof, min_periods=least)
    np.testing.assert_allclose(got, _expected(column, 5, "std", least or 5, ddof), rtol=1e-12)
    assert np.isnan(got).all() == (ddof == 5)


def test_many_short_columns():
    data = _data((30, 700))
    got = analysis.rolling(data, 4, "std")
    for column in (0, 272, 273, 274, 699):
        np.testing.assert_allclose(got[:, column], _expected(data[:, column], 4, "std", 4), rtol=1e-12)


def _pandas_z(column, window, closed=None, ddof=1, **options):
    rolled = column.rolling(window, closed=closed, **options)
    return ((column - rolled.mean()) / rolled.std(ddof=ddof)).to_numpy()


@pytest.mark.parametrize("ddof", [0, 1])
@pytest.mark.parametrize("include_point", [True, False])
def test_zscore_over_rows_is_that_of_pandas(include_point, ddof):
    data = _data(300)
    data[[50, 200]] = [300, -80]
    rolled = pd.Series(data).rolling(30)
    mean, std = rolled.mean(), rolled.std(ddof=ddof)
    if not include_point:
        mean, std = mean.shift(1), std.shift(1)
    expected = ((data - mean) / std).to_numpy()
    got = analysis.zscore_anomalies(data, 30, include_point=include_point, ddof=ddof, threshold=2.5)
    np.testing.assert_allclose(got["z"], expected, rtol=1e-11, atol=1e-12)
    np.testing.assert_allclose(got["mean"], mean, rtol=1e-12)
    np.testing.assert_allclose(got["std"], std, rtol=1e-12)
    np.testing.assert_array_equal(got["anomaly"], np.abs(expected) > 2.5)
    np.testing.assert_array_equal(got["indices"], np.flatnonzero(np.abs(expected) > 2.5))
    assert {50, 200} <= set(got["indices"].tolist())
    assert got["anomalies"] == len(got["indices"])
    assert (got["tested"], got["zero_std"], got["undefined"]) == ((271, 0, 29) if include_point else (270, 0, 30))


@pytest.mark.parametrize("unit", ["s", "ms", "us", "ns"])
@pytest.mark.parametrize("include_point", [True, False])
@pytest.mark.parametrize("least", [None, 1, 12])
def test_zscore_over_a_duration_is_that_of_pandas(unit, include_point, least):
    rng = np.random.default_rng(3)
    times = (np.datetime64("2024-01-01", "s") + np.cumsum(rng.integers(1, 20, 400))).astype(f"M8[{unit}]")
    data = _data(400)
    data[[77, 78, 300]] = [np.nan, 1e12, 350]
    data[100:130] = np.nan
    got = analysis.zscore_anomalies(data, "60s", times=times, include_point=include_point, min_periods=least)
    closed = "right" if include_point else "left"
    start = np.searchsorted(times, times - np.timedelta64(60, "s"), side=closed)
    for row in range(400):
        window = data[start[row] : row + include_point]
        window = window[~np.isnan(window)]
        few = len(window) < (least or 2)
        mean = np.nan if few else window.mean()
        std = np.nan if few or len(window) < 2 else window.std(ddof=1)
        assert got["mean"][row] == pytest.approx(mean, rel=1e-12, nan_ok=True)
        assert got["std"][row] == pytest.approx(std, rel=1e-12, nan_ok=True)
    calm = slice(150, None)  # pandas 1.5 goes wrong after the large value
    series = pd.Series(data[calm], index=pd.DatetimeIndex(times[calm].astype("M8[ns]")))  # 2.0 errs in other units
    expected = _pandas_z(series, "60s", closed, min_periods=least or 2)
    settled = slice(180, None)
    np.testing.assert_allclose(got["z"][settled], expected[30:], rtol=1e-9, atol=1e-9)


def test_zscore_takes_durations_in_every_form():
    times = np.datetime64("2024-01-01", "us") + np.arange(100) * np.timedelta64(10, "s")
    data = _data(100)
    expected = analysis.zscore_anomalies(data, "2min", times=times)["z"]
    assert np.isfinite(expected[1:]).all()
    for window in ("120s", " 2 min", np.timedelta64(120, "s"), timedelta(minutes=2), pd.Timedelta("2min")):
        for stamps in (times, times.astype("M8[25us]"), pd.Series(times), pd.DatetimeIndex(times, tz="UTC")):
            np.testing.assert_array_equal(analysis.zscore_anomalies(data, window, times=stamps)["z"], expected)
    half_days = np.datetime64("2024-01-01T00", "h") + 12 * np.arange(20)
    weekly = analysis.zscore_anomalies(data[:20], "1W", times=half_days, min_periods=14)["z"]
    by_rows = analysis.zscore_anomalies(data[:20], 14)["z"]
    np.testing.assert_allclose(weekly, by_rows, rtol=1e-12)


def test_zscore_over_long_series_of_times_in_blocks():
    rows = 3 * _analysis_window._BLOCK
    times = np.datetime64("2024-01-01", "s") + np.arange(rows)
    data = _data(rows)
    for seconds in (50, 5000):
        by_time = analysis.zscore_anomalies(data, f"{seconds}s", times=times, min_periods=seconds)
        by_rows = analysis.zscore_anomalies(data, seconds)
        np.testing.assert_allclose(by_time["z"], by_rows["z"], rtol=1e-9, atol=1e-11)


def test_zscore_of_times_at_the_ends_of_the_range():
    early = np.datetime64("1677-09-22", "ns") + np.arange(3) * np.timedelta64(1, "D")
    got = analysis.zscore_anomalies([1.0, 2.0, 4.0], "30D", times=early)
    assert got["mean"].tolist()[1:] == pytest.approx([1.5, 7 / 3])


def test_zscore_of_matrices_names_rows_and_columns():
    data = np.c_[_data(100), _data(100, 1), np.full(100, 0.1)]
    data[40, 1] = data[60, 0] = 900.0
    got = analysis.zscore_anomalies(data, 20, threshold=4)
    assert got["indices"].tolist() == [40, 60]
    assert got["columns"].tolist() == [1, 0]
    assert got["anomaly"].sum() == 2
    assert got["anomaly"][40, 1]
    assert got["zero_std"] == 81
    assert np.isnan(got["z"][:, 2]).all()
    assert got["tested"] == 2 * 81
    assert got["undefined"] == 3 * 19
    for name in ("z", "mean", "std", "anomaly"):
        for column in range(3):
            alone = analysis.zscore_anomalies(data[:, column], 20, threshold=4)[name]
            np.testing.assert_array_equal(got[name][:, column], alone)


def test_zero_deviation_is_no_anomaly_and_counted_apart():
    data = np.r_[np.full(30, 0.1), 5.0, np.full(10, 0.1), np.nan]
    before = analysis.zscore_anomalies(data, 5, include_point=False)
    assert np.isnan(before["z"][30])  # the five before it do not vary: nothing to measure by
    assert before["std"][30] == 0
    assert before["zero_std"] == 25 + 1 + 5
    assert before["anomalies"] == 0
    assert before["tested"] == 5
    assert before["undefined"] == 5 + 1
    assert not np.isinf(before["z"]).any()


@pytest.mark.parametrize("ddof", [0, 1])
@pytest.mark.parametrize("n", [3, 10, 50])
def test_z_of_a_point_in_its_own_window_is_bounded(n, ddof):
    spike = np.r_[np.zeros(n - 1), 1e6]
    got = analysis.zscore_anomalies(spike, n, ddof=ddof, threshold=0.5)
    bound = (n - 1) / np.sqrt(n) if ddof == 1 else np.sqrt(n - 1)
    assert got["z_limit"] == pytest.approx(bound)
    assert got["z"][-1] == pytest.approx(bound)
    noise = analysis.zscore_anomalies(_data(500) ** 3, n, ddof=ddof, threshold=0.5)["z"]
    assert np.nanmax(np.abs(noise)) <= bound * (1 + 1e-12)


def test_a_threshold_that_nothing_can_pass_is_said():
    data = np.r_[_data(20), 1e9]
    with pytest.warns(UserWarning, match=r"window of 5 rows.*cannot exceed 1.79.*threshold 2;") as seen:
        assert analysis.zscore_anomalies(data, 5)["anomalies"] == 0
    assert seen[0].filename == __file__
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert analysis.zscore_anomalies(data, 5, include_point=False)["indices"].tolist()[-1] == 20
        assert analysis.zscore_anomalies(data, 5, include_point=False)["z_limit"] == np.inf
        assert analysis.zscore_anomalies(data, 5, threshold=1.7)["indices"].tolist()[-1] == 20
