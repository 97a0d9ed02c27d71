"""resample_ohlc and group_aggregate, against pandas with whatever names its frequencies have at present."""

import numpy as np
import pandas as pd
import pytest

from krait import analysis

OLD = int(pd.__version__.split(".")[0]) < 2 or pd.__version__.startswith(("2.0", "2.1"))
ALIAS = {
    "s": "S" if OLD else "s",
    "min": "min",
    "h": "H" if OLD else "h",
    "D": "D",
    "W": "W",
    "M": "M" if OLD else "ME",
}


def _alias(frequency):
    unit = frequency.lstrip("0123456789")
    return frequency.removesuffix(unit) + ALIAS[unit]


def _times(rows, scale, unit="s", start="2023-12-29T17:43:11", seed=0):
    gaps = np.random.default_rng(seed).exponential(scale, rows).astype(np.int64)
    return (np.datetime64(start, "s") + np.cumsum(gaps)).astype(f"M8[{unit}]")


def _prices(rows, seed=1):
    return np.cumsum(np.random.default_rng(seed).normal(size=rows)) + 100


def _check(got, frame, volume=None):
    """A result against a pandas frame of open, high, low, close, and volumes."""
    np.testing.assert_array_equal(got["time"], frame.index.to_numpy().astype(got["time"].dtype))
    for name in ("open", "high", "low", "close"):
        np.testing.assert_array_equal(got[name], frame[name].to_numpy(), err_msg=name)
    if volume is not None:
        np.testing.assert_allclose(got["volume"], volume.to_numpy(), rtol=1e-12)


# frequency, mean gap between rows in seconds
CASES = [
    ("1s", 0.7),
    ("5min", 100),
    ("7min", 300),
    ("1h", 500),
    ("5h", 9000),
    ("1D", 9000),
    ("2D", 50000),
    ("36h", 50000),
    ("1W", 40000),
    ("W", 400000),
    ("2W", 400000),
    ("3W", 4000000),
    ("1M", 400000),
    ("2M", 1000000),
    ("3M", 9000000),
]


@pytest.mark.parametrize(("frequency", "gap"), CASES)
@pytest.mark.parametrize("start", ["2023-12-29T17:43:11", "2024-03-31T00:00:00", "1969-11-02T23:59:59"])
def test_ohlc_of_prices_is_that_of_pandas(frequency, gap, start):
    times, prices = _times(400, gap, start=start), _prices(400)
    volumes = np.arange(400)
    got = analysis.resample_ohlc(times, prices, volumes, frequency=frequency)
    index = pd.DatetimeIndex(times.astype("M8[ns]"))
    resampled = pd.Series(prices, index=index).resample(_alias(frequency))
    _check(got, resampled.ohlc(), pd.Series(volumes, index=index).resample(_alias(frequency)).sum())
    np.testing.assert_array_equal(got["count"], resampled.count().to_numpy())
    dropped = analysis.resample_ohlc(times, prices, volumes, frequency=frequency, drop_empty=True)
    _check(dropped, resampled.ohlc().dropna())
    np.testing.assert_array_equal(dropped["volume"], got["volume"][got["count"] > 0])
    np.testing.assert_array_equal(dropped["count"], got["count"][got["count"] > 0])


@pytest.mark.parametrize("frequency", ["5min", "1D", "1W", "1M"])
def test_ohlc_skips_missing_prices(frequency):
    times, prices = _times(300, 30000), _prices(300)
    prices[np.random.default_rng(5).random(300) < 0.6] = np.nan
    times = times if frequency != "5min" else times[:60]
    prices = prices[: len(times)]
    series = pd.Series(prices, index=pd.DatetimeIndex(times.astype("M8[ns]"))).resample(_alias(frequency))
    got = analysis.resample_ohlc(times, prices, frequency=frequency)
    _check(got, series.ohlc())
    assert "volume" not in got
    np.testing.assert_array_equal(got["count"], series.count().to_numpy())
    dropped = analysis.resample_ohlc(times, prices, frequency=frequency, drop_empty=True)
    _check(dropped, series.ohlc().dropna())
    assert (dropped["count"] > 0).all()


@pytest.mark.parametrize("frequency", ["1D", "1W", "2M"])
@pytest.mark.parametrize("holes", [False, True])
def test_ohlc_of_bars_is_that_of_pandas(frequency, holes):
    times = np.datetime64("2022-01-05", "D") + np.cumsum(np.random.default_rng(2).integers(1, 4, 500))
    opened, closed = _prices(500), _prices(500, 2)
    high, low = np.maximum(opened, closed) + 1, np.minimum(opened, closed) - 1
    volume = np.random.default_rng(4).integers(0, 10**6, 500).astype(float)
    columns = [opened, high, low, closed, volume]
    if holes:
        for at, column in enumerate(columns):
            column[np.random.default_rng(at).random(500) < 0.5] = np.nan
    names = ["open", "high", "low", "close", "volume"]
    frame = pd.DataFrame(dict(zip(names, columns, strict=True)), index=pd.DatetimeIndex(times.astype("M8[ns]")))
    how = dict(zip(names, ["first", "max", "min", "last", "sum"], strict=True))
    expected = frame.resample(_alias(frequency)).agg(how)
    got = analysis.resample_ohlc(times, *columns, frequency=frequency)
    _check(got, expected, expected["volume"])
    assert got["time"].dtype == np.dtype("M8[D]")
    without = analysis.resample_ohlc(times, *columns[:4], frequency=frequency)
    assert "volume" not in without
    np.testing.assert_array_equal(without["close"], got["close"])


@pytest.mark.parametrize(
    ("unit", "frequency", "expected"),
    [("D", "1W", "D"), ("D", "1h", "h"), ("s", "1D", "s"), ("ns", "1M", "ns"), ("25s", "5min", "s"), ("M", "1D", "D")],
)
def test_ohlc_keeps_the_finer_unit_of_time(unit, frequency, expected):
    times = np.array(["2024-01-01", "2024-03-05"], dtype=f"M8[{unit}]")
    got = analysis.resample_ohlc(times, [1.0, 2.0], frequency=frequency, drop_empty=True)
    assert got["time"].dtype == np.dtype(f"M8[{expected}]")
    assert got["close"].tolist() == [1.0, 2.0]


def test_a_week_ends_with_sunday():
    times = np.array(["2024-01-06T12", "2024-01-07T23:59:59.999999999", "2024-01-08"], dtype="M8[ns]")
    got = analysis.resample_ohlc(times, [1.0, 2.0, 3.0], frequency="1W")
    assert got["time"].astype("M8[D]").astype(str).tolist() == ["2024-01-07", "2024-01-14"]
    assert got["close"].tolist() == [2.0, 3.0]


def test_ohlc_of_tables_finds_columns_by_name():
    times = np.datetime64("2024-01-01", "s") + np.arange(300) * 60
    table = {"Date": times, "High": _prices(300) + 1, "Low": _prices(300) - 1, "Volume": np.arange(300)}
    table |= {"Open": _prices(300), "Close": _prices(300), "Adj Close": np.zeros(300), "Name": np.array(["x"] * 300)}
    order = ["Date", "Open", "High", "Low", "Close", "Volume"]
    expected = analysis.resample_ohlc(*(table[name] for name in order), frequency="1h")
    structured = np.zeros(300, dtype=[(name, column.dtype) for name, column in table.items()])
    for name, column in table.items():
        structured[name] = column
    frame = pd.DataFrame(table)
    for data in (table, structured, frame, frame.set_index("Date")):
        got = analysis.resample_ohlc(data, frequency="1h")
        assert list(got) == list(expected)
        for name, values in expected.items():
            np.testing.assert_array_equal(got[name], values)
    ticks = analysis.resample_ohlc(times, table["Close"], frequency="1h")
    series = pd.Series(table["Close"], index=pd.DatetimeIndex(times.astype("M8[ns]")))
    for data in ({"time": times, "price": table["Close"]}, {"timestamp": times, "close": table["Close"]}, series):
        got = analysis.resample_ohlc(data, frequency="1h")
        for name, values in ticks.items():
            np.testing.assert_array_equal(got[name], values)


def test_ohlc_of_a_fine_frequency_over_long_times():
    times = np.array(["2000-01-01T00:00:00.5", "2024-01-01T00:00:00"], dtype="M8[ms]")
    got = analysis.resample_ohlc(times, [1.0, 2.0], frequency="1s", drop_empty=True)
    assert got["time"].astype(str).tolist() == ["2000-01-01T00:00:00.000", "2024-01-01T00:00:00.000"]
    with pytest.raises(ValueError, match="757382401 periods, more than 50000000"):
        analysis.resample_ohlc(times, [1.0, 2.0], frequency="1s")
    nothing = analysis.resample_ohlc(times, [np.nan, np.nan], frequency="1s", drop_empty=True)
    assert [len(values) for values in nothing.values()] == [0] * 6


AGGREGATES = ["count", "first", "last", "max", "mean", "median", "min", "std", "sum", "var"]


def _keys(kind, rows=500):
    numbers = np.random.default_rng(9).integers(-20, 20, rows)
    spread = numbers.astype(np.int64) * 10**15
    return {
        "int64": numbers,
        "int8": (numbers * 6).astype(np.int8),
        "uint64": numbers.astype(np.uint64) % 40 + np.uint64(2**63),
        "big endian": numbers.astype(">i4"),
        "spread": spread,
        "bool": numbers > 3,
        "float": np.where(numbers == 0, np.nan, numbers / 8),
        "text": np.array([f"k{number}" for number in numbers]),
        "bytes": np.array([b"k%d" % number for number in numbers]),
        "objects": np.array([None if n == 0 else np.nan if n == 1 else f"ü{n}" for n in numbers], dtype=object),
        "times": np.datetime64("2024-01-01", "D") + numbers,
        "NaT": np.where(numbers == 0, np.datetime64("NaT", "s"), np.datetime64("2024-01-01", "s") + numbers),
        "durations": numbers * np.timedelta64(1, "h"),
        "one": np.zeros(rows, dtype=np.int32),
    }[kind]


@pytest.mark.parametrize("holes", [False, True])
@pytest.mark.parametrize(
    "kind",
    "int64 int8 uint64,big endian,spread,bool,float,text,bytes,objects,times,NaT,durations,one".replace(" u", ",u")
    .replace("int64 ", "int64,")
    .split(","),
)
def test_groups_are_those_of_pandas(kind, holes):
    keys = _keys(kind)
    data = np.c_[_prices(500), np.round(_prices(500, 3))]
    if holes:
        data[np.random.default_rng(1).random(data.shape) < 0.5] = np.nan
        data[keys == keys[3], 1] = np.nan
    native = keys.astype(keys.dtype.newbyteorder("="))
    frame = pd.DataFrame(data).groupby(native.tolist() if kind == "bytes" else native)
    got = analysis.group_aggregate(data, keys, AGGREGATES)
    expected_keys = frame.size().index.to_numpy()
    np.testing.assert_array_equal(got["key"], expected_keys.astype(got["key"].dtype))
    assert len(got["key"]) == len(expected_keys)
    if kind != "objects":
        assert got["key"].dtype == native.dtype
    for how in AGGREGATES:
        expected = getattr(frame, how)().to_numpy()
        np.testing.assert_allclose(got[how], expected, rtol=1e-11, atol=1e-12, err_msg=how)
        single = analysis.group_aggregate(data[:, 1], keys, how)[how]
        np.testing.assert_array_equal(single, got[how][:, 1])
    assert got["count"].dtype == np.int64


def test_groups_of_equal_values_have_a_deviation_of_exactly_0():
    keys = np.arange(300) % 3
    data = np.where(keys == 0, 0.1, np.where(keys == 1, 1 / 3, np.arange(300)))
    got = analysis.group_aggregate(data, keys, "std,var")
    assert got["std"].tolist()[:2] == [0, 0]
    assert got["var"].tolist()[:2] == [0, 0]
    assert got["std"][2] > 0
    assert np.isnan(analysis.group_aggregate([1.0, 2.0], [1, 2], "std")["std"]).all()
    assert analysis.group_aggregate([1.0, 2.0], [1, 2], "std", ddof=0)["std"].tolist() == [0, 0]


def test_more_groups_than_16_bits_have():
    keys = np.random.default_rng(0).permutation(200_000) // 2
    data = np.arange(200_000.0)
    got = analysis.group_aggregate(data, keys, "sum,first")
    expected = pd.Series(data).groupby(keys)
    np.testing.assert_array_equal(got["sum"], expected.sum().to_numpy())
    np.testing.assert_array_equal(got["first"], expected.first().to_numpy())


def test_groups_of_tables_by_one_key_and_by_several():
    table = {
        "symbol": np.array(["b", "a", "b", "a", "c"], dtype=object),
        "side": np.array([1, 2, 1, 1, 2]),
        "price": np.array([1.0, 2.0, 3.0, np.nan, 5.0]),
        "size": np.array([10, 20, 30, 40, 50]),
    }
    structured = np.zeros(5, dtype=[("symbol", "U4"), ("side", "i8"), ("price", "f8"), ("size", "i4")])
    for name, column in table.items():
        structured[name] = column
    for data in (table, structured, pd.DataFrame(table)):
        one = analysis.group_aggregate(data, "symbol", "mean,count", columns="price")
        assert list(one) == ["symbol", "price_mean", "price_count"]
        assert one["symbol"].tolist() == ["a", "b", "c"]
        assert one["price_mean"].tolist() == [2.0, 2.0, 5.0]
        assert one["price_count"].tolist() == [1, 2, 1]
        both = analysis.group_aggregate(data, ["symbol", "side"], "sum")
        expected = pd.DataFrame(table).groupby(["symbol", "side"]).sum().reset_index()
        assert list(both) == ["symbol", "side", "price_sum", "size_sum"]
        for name in ("symbol", "side", "price", "size"):
            values = both[name if name in both else f"{name}_sum"]
            assert values.tolist() == expected[name].tolist()


def test_several_keys_with_missing_ones():
    rng = np.random.default_rng(2)
    table = {
        "a": np.where(rng.random(400) < 0.2, np.nan, rng.integers(0, 5, 400)),
        "b": np.array([None if n == 0 else f"k{n}" for n in rng.integers(0, 6, 400)], dtype=object),
        "c": rng.integers(0, 3, 400).astype(bool),
        "x": _prices(400),
    }
    got = analysis.group_aggregate(table, ["a", "b", "c"], ["mean", "last"])
    expected = pd.DataFrame(table).groupby(["a", "b", "c"]).x.agg(["mean", "last"]).reset_index()
    for name in ("a", "b", "c"):
        assert got[name].tolist() == expected[name].tolist()
    np.testing.assert_allclose(got["x_mean"], expected["mean"], rtol=1e-12)
    np.testing.assert_array_equal(got["x_last"], expected["last"])


@pytest.mark.parametrize("keys", [[np.nan, np.nan], np.array(["NaT", "NaT"], "M8[s]"), np.array([None, None])])
def test_no_key_at_all_makes_no_group(keys):
    got = analysis.group_aggregate([[1.0, 2.0], [3.0, 4.0]], keys, AGGREGATES)
    assert got["key"].shape == (0,)
    assert {got[how].shape for how in AGGREGATES} == {(0, 2)}
