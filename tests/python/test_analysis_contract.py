"""What all functions of krait.analysis owe a C program: lent input is only read and not kept, results are its own."""

import gc
import inspect
import subprocess
import sys
import warnings
import weakref
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from krait import analysis

PACKAGE = str(Path(analysis.__file__).parents[1])
ROWS = 40


def _matrix():
    values = np.random.default_rng(1).normal(100, 5, (ROWS, 3))
    values[7, 1] = 500.0
    return values


def _times():
    return np.datetime64("2024-03-01T09:30", "s") + np.arange(ROWS) * np.timedelta64(50, "s")


def _bars():
    fields = [("date", "M8[s]"), ("open", "f8"), ("high", "f8"), ("low", "f8"), ("close", "f8"), ("volume", "i8")]
    bars = np.zeros(ROWS, dtype=fields)
    bars["date"] = _times()
    for name, step in zip(("open", "high", "low", "close", "volume"), range(5), strict=True):
        bars[name] = 10 + step + np.arange(ROWS) % 7
    return bars


# name: (inputs made anew for each test, call)
CALLS = {
    "normalize": ([_matrix], lambda x: analysis.normalize(x)),
    "normalize-1d": ([lambda: _matrix()[:, 0].copy()], lambda x: analysis.normalize(x)),
    "correlation": ([_matrix], lambda x: analysis.correlation(x)),
    "describe": ([_matrix], lambda x: analysis.describe(x)),
    "quantile": ([_matrix], lambda x: analysis.quantile(x, [0, 0.3, 1])),
    "quantile-one": ([_matrix], lambda x: analysis.quantile(x, 0.5)),
    "quantile-one-row": ([lambda: _matrix()[:1].copy()], lambda x: analysis.quantile(x)),
    **{
        f"rolling-{how}-{window}": (
            [_matrix],
            lambda x, how=how, window=window: analysis.rolling(x, window, how, min_periods=1),
        )
        for how in ("max", "mean", "median", "min", "std", "sum")
        for window in (1, 5)
    },
    "zscore-rows": ([_matrix], lambda x: analysis.zscore_anomalies(x, 10)),
    "zscore-window-1": ([_matrix], lambda x: analysis.zscore_anomalies(x, 1, include_point=False, ddof=0)),
    "zscore-times": ([_matrix, _times], lambda x, t: analysis.zscore_anomalies(x, "10min", times=t)),
    "regression": ([_matrix, lambda: np.arange(float(ROWS))], lambda x, y: analysis.linear_regression(x, y)),
    "ohlc": ([_times, lambda: _matrix()[:, 0].copy()], lambda t, p: analysis.resample_ohlc(t, p, frequency="1s")),
    "ohlc-bars": ([_bars], lambda bars: analysis.resample_ohlc(bars, frequency="5min")),
    "group": (
        [_matrix, lambda: np.arange(ROWS)],
        lambda x, k: analysis.group_aggregate(x, k, "count,first,last,max,mean,median,min,std,sum,var"),
    ),
    "group-table": ([_bars], lambda t: analysis.group_aggregate(t, "open", "first,sum", columns=["high", "volume"])),
}


def _quietly(call, inputs):
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="in a window of .* rows that includes the point")
        return call(*inputs)


def _arrays(result):
    values = result.values() if isinstance(result, dict) else [result]
    return [value for value in values if isinstance(value, np.ndarray)]


def _schema(result):
    if isinstance(result, dict):
        return {name: _schema(value) for name, value in result.items()}
    return (result.dtype, result.ndim) if isinstance(result, np.ndarray) else type(result)


@pytest.mark.parametrize("name", CALLS)
def test_input_is_only_read(name):
    makers, call = CALLS[name]
    writable, locked = [make() for make in makers], [make() for make in makers]
    for array in locked:
        array.flags.writeable = False
    before = [array.tobytes() for array in writable]
    results = _quietly(call, writable), _quietly(call, locked)
    assert [array.tobytes() for array in writable] == before
    for one, other in zip(_arrays(results[0]), _arrays(results[1]), strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize("name", CALLS)
def test_results_are_new_and_contiguous(name, order):
    makers, call = CALLS[name]
    inputs = [np.array(make(), order=order) for make in makers]
    for array in _arrays(_quietly(call, inputs)):
        assert array.flags.c_contiguous
        assert array.flags.writeable
        assert array.dtype.isnative
        assert not any(np.shares_memory(array, lent) for lent in inputs)


class _Owner:
    """Memory that is lent: the base of the array over it, as krait's own owner object is, with a death one can see."""

    def __init__(self, array):
        self.array = array
        self.__array_interface__ = array.__array_interface__


@pytest.mark.parametrize("fails", [False, True])
@pytest.mark.parametrize("name", CALLS)
def test_nothing_of_the_input_is_kept(name, fails):
    makers, call = CALLS[name]
    inputs = [np.asarray(_Owner(make())) for make in makers]
    dead = [weakref.ref(lent.base) for lent in inputs]
    gc.disable()  # a cycle would keep lent memory until the next collection: not even that
    try:
        if fails:
            inputs[0] = inputs[0][:0]
            with pytest.raises(ValueError, match="empty"):
                _quietly(call, inputs)
        else:
            result = _quietly(call, inputs)
        del inputs
        assert [ref() for ref in dead] == [None] * len(dead)
    finally:
        gc.enable()
    if not fails:
        assert result is not None


@pytest.mark.parametrize("name", [name for name in CALLS if "ohlc" not in name and "table" not in name])
def test_schema_does_not_depend_on_values(name):
    makers, call = CALLS[name]
    usual = [make() for make in makers]
    for odd in (0.0, np.nan, np.inf):
        if name == "regression" and odd != 0.0:
            continue  # refused: nothing is left to fit
        strange = [make() for make in makers]
        strange[0][...] = odd
        if name == "regression":
            strange[0][...] = usual[0]
            strange[1][...] = 0.0
        assert _schema(_quietly(call, strange)) == _schema(_quietly(call, usual))


@pytest.mark.parametrize("name", ["correlation", "describe", "normalize", "quantile", "rolling-std-5", "zscore-rows"])
def test_every_form_of_the_same_data_gives_the_same(name):
    call = CALLS[name][1]
    values = np.round(_matrix())
    table = {"a": values[:, 0], "b": values[:, 1], "c": values[:, 2]}
    structured = np.zeros(ROWS, dtype=[("a", "f8"), ("b", "i4"), ("c", ">f8")])
    for key, column in table.items():
        structured[key] = column
    frame = pd.DataFrame(table)
    forms = {
        "fortran": np.asfortranarray(values),
        "strided": np.repeat(np.repeat(values, 2, axis=0), 3, axis=1)[::2, ::3],
        "reversed": values[::-1].copy()[::-1],
        "big endian": values.astype(">f8"),
        "int64": values.astype(np.int64),
        "uint16": values.astype(np.uint16),
        "float32": values.astype(np.float32),
        "list of rows": values.tolist(),
        "list of arrays": list(values),
        "objects": values.astype(object),
        "masked": np.ma.masked_array(values),
        "mapping": table,
        "structured": structured,
        "frame": frame,
        "mixed frame": frame.astype({"b": np.int64, "c": np.float32}),
        "nullable frame": frame.astype({"a": "Float64", "b": "Int64"}),
    }
    expected = _arrays(_quietly(call, [values]))
    for form, data in forms.items():
        for got, want in zip(_arrays(_quietly(call, [data])), expected, strict=True):
            np.testing.assert_array_equal(got, want, err_msg=form)


def test_missing_values_of_every_kind_become_nan():
    expected = analysis.describe(np.array([1.0, np.nan, 3.0]))
    for data in (
        [1, None, 3],
        pd.Series([1, None, 3]),
        pd.Series([1, None, 3], dtype="Int64"),
        pd.Series([1.0, None, 3.0], dtype=object),
        pd.DataFrame({"x": pd.array([1, None, 3], dtype="Int64"), "y": 0}).iloc[:, :1],
        np.ma.masked_array([1.0, 99.0, 3.0], mask=[False, True, False]),
        np.ma.masked_array([1, 99, 3], mask=[False, True, False]),
    ):
        got = analysis.describe(data)
        assert got["count"].tolist() == [2]
        for name, values in expected.items():
            np.testing.assert_array_equal(got[name], values)


def test_bool_counts_as_numbers():
    assert analysis.describe([True, False, True, True])["mean"].tolist() == [0.75]
    mixed = analysis.describe(pd.DataFrame({"a": [True, False], "b": [1.5, 2.5]}))
    assert mixed["mean"].tolist() == [0.5, 2.0]


NAT = np.array(["2024-01-01", "NaT"], dtype="M8[s]")
BACK = np.array(["2024-01-02", "2024-01-01"], dtype="M8[s]")
TWO = np.array(["2024-01-01", "2024-01-02"], dtype="M8[s]")
BAD = {
    "3 dimensions": (lambda: analysis.normalize(np.zeros((2, 3, 4))), ValueError, r"3 dimensions.*\(2, 3, 4\).*exp"),
    "0 dimensions": (lambda: analysis.describe(1.0), ValueError, "0 dimensions"),
    "no rows": (lambda: analysis.rolling(np.zeros((0, 3)), 2), ValueError, r"data is empty, shape \(0, 3\)"),
    "no columns": (lambda: analysis.describe(np.zeros((3, 0))), ValueError, "empty"),
    "empty table": (lambda: analysis.describe({}), ValueError, "no columns"),
    "ragged": (lambda: analysis.normalize([[1, 2], [3, 4], [5]]), ValueError, "row 2 has 1 values, row 0 has 2"),
    "row that is a number": (lambda: analysis.normalize([[1, 2], 3]), ValueError, "row 1 has no values"),
    "columns that differ": (lambda: analysis.describe({"a": [1], "b": [1, 2]}), ValueError, r"'b'.* has 2 rows.* 1;"),
    "matrix as column": (lambda: analysis.describe({"a": np.eye(2)}), ValueError, "a column must have 1"),
    "text": (lambda: analysis.normalize(["1", "2"]), TypeError, "data is <U1; expected numbers"),
    "text among numbers": (lambda: analysis.normalize([1, "2", None]), TypeError, r"data holds '2' \(str\)"),
    "text column": (lambda: analysis.describe(pd.DataFrame({"n": [1], "t": ["x"]})), TypeError, r"data\['t'\].*'x'"),
    "complex": (lambda: analysis.normalize(np.ones(3) * 1j), TypeError, "complex128"),
    "times as data": (lambda: analysis.normalize(TWO), TypeError, "datetime64.*expected numbers"),
    "same name twice": (
        lambda: analysis.describe(pd.DataFrame([["x", 1]], columns=["a", "a"])),
        ValueError,
        "columns of the same name",
    ),
    "ddof negative": (lambda: analysis.normalize([1, 2], ddof=-1), ValueError, "ddof is -1; expected at least 0"),
    "ddof a float": (lambda: analysis.normalize([1, 2], ddof=1.0), TypeError, r"ddof is 1.0 \(float\)"),
    "ddof a bool": (lambda: analysis.describe([1, 2], ddof=True), TypeError, r"ddof is True \(bool\)"),
    "correlation of a vector": (lambda: analysis.correlation([1, 2]), ValueError, r"1 dimension, shape \(2,\)"),
    "min_periods 0": (lambda: analysis.correlation(np.eye(2), min_periods=0), ValueError, "min_periods is 0"),
    "quantile above 1": (lambda: analysis.quantile([1, 2], 50), ValueError, "q is 50; expected numbers from 0 to 1"),
    "quantile below 0": (lambda: analysis.quantile([1, 2], [0.5, -0.1]), ValueError, "from 0 to 1"),
    "quantile NaN": (lambda: analysis.quantile([1, 2], np.nan), ValueError, "from 0 to 1"),
    "no quantile": (lambda: analysis.quantile([1, 2], np.empty(0)), ValueError, "from 0 to 1"),
    "quantile text": (lambda: analysis.quantile([1, 2], "0.5"), TypeError, "q is <U3"),
    "window 0": (lambda: analysis.rolling([1, 2], 0), ValueError, "window is 0; expected at least 1"),
    "window a float": (lambda: analysis.rolling([1, 2], 2.5), TypeError, r"window is 2.5 \(float\)"),
    "statistic": (lambda: analysis.rolling([1, 2], 1, "avg"), ValueError, "'avg'.*max, mean, median, min, std, sum"),
    "min_periods": (lambda: analysis.rolling([1, 2], 2, min_periods=3), ValueError, "3, more than the window of 2"),
    "threshold": (lambda: analysis.zscore_anomalies([1, 2], 2, threshold=-1), ValueError, "threshold is -1"),
    "threshold NaN": (lambda: analysis.zscore_anomalies([1, 2], 2, threshold=np.nan), ValueError, "threshold"),
    "duration, no times": (lambda: analysis.zscore_anomalies([1, 2], "60s"), ValueError, "needs times"),
    "duration": (lambda: analysis.zscore_anomalies([1, 2], "1x", times=TWO), ValueError, "'1x' is not known"),
    "month": (lambda: analysis.zscore_anomalies([1, 2], "1M", times=TWO), ValueError, "fixed length"),
    "duration 0": (
        lambda: analysis.zscore_anomalies([1, 2], np.timedelta64(0, "s"), times=TWO),
        ValueError,
        "positive duration",
    ),
    "NaT": (lambda: analysis.zscore_anomalies([1, 2], "1D", times=NAT), ValueError, "times is NaT.*row 1"),
    "unsorted": (lambda: analysis.zscore_anomalies([1, 2], "1D", times=BACK), ValueError, "not sorted: row 1 .2024-01"),
    "times too few": (lambda: analysis.zscore_anomalies([1, 2, 3], "1D", times=TWO), ValueError, "2 rows.*has 3"),
    "times as numbers": (lambda: analysis.resample_ohlc([1, 2], [1, 2]), TypeError, "time is int64; expected datetime"),
    "times as text": (lambda: analysis.resample_ohlc(["2024-01-01"], [1]), TypeError, "time is <U10"),
    "times without unit": (lambda: analysis.resample_ohlc(np.zeros(1, "M8"), [1]), TypeError, "with a unit"),
    "no times": (lambda: analysis.resample_ohlc(TWO[:0], np.empty(0)), ValueError, "time is empty"),
    "2-D times": (lambda: analysis.resample_ohlc(TWO[None], [1]), ValueError, "time has 2 dimensions"),
    "3 columns": (lambda: analysis.resample_ohlc(TWO, [1, 2], [1, 2], [1, 2]), ValueError, "3 columns after time"),
    "frequency": (lambda: analysis.resample_ohlc(TWO, [1, 2], frequency="1T"), ValueError, "'1T' is not known.*min"),
    "frequency 0": (lambda: analysis.resample_ohlc(TWO, [1, 2], frequency="0s"), ValueError, "count from 1"),
    "frequency a number": (lambda: analysis.resample_ohlc(TWO, [1, 2], frequency=60), TypeError, "frequency is int"),
    "too many bins": (lambda: analysis.resample_ohlc(TWO, [1, 2], frequency="1us"), ValueError, "drop_empty=True"),
    "beyond 64 bits": (
        lambda: analysis.resample_ohlc(np.array(["0001-01-01"], "M8[D]"), [1], frequency="1ns"),
        ValueError,
        "do not fit 64 bits",
    ),
    "table without time": (lambda: analysis.resample_ohlc({"price": [1]}), ValueError, "expected one of time, date"),
    "table with two times": (
        lambda: analysis.resample_ohlc({"time": TWO, "date": TWO, "price": [1, 2]}),
        ValueError,
        "expected one of",
    ),
    "table without price": (lambda: analysis.resample_ohlc({"time": TWO, "x": [1, 2]}), ValueError, "expected price"),
    "half a bar": (
        lambda: analysis.resample_ohlc({"time": TWO, "open": [1, 2], "close": [1, 2]}),
        ValueError,
        "open, high, low, close",
    ),
    "time alone": (lambda: analysis.resample_ohlc(TWO), ValueError, "time stands alone"),
    "rows that differ": (lambda: analysis.linear_regression([1, 2, 3], [1, 2]), ValueError, "y has 2 rows.* 3"),
    "two targets": (lambda: analysis.linear_regression([1, 2], np.eye(2)), ValueError, "y has 2 columns"),
    "infinite": (lambda: analysis.linear_regression([1, 2, np.inf], [1, 2, 3]), ValueError, "infinite"),
    "rows too few": (
        lambda: analysis.linear_regression(np.eye(2), [1, 2]),
        ValueError,
        "2 rows without NaN for 3 terms",
    ),
    "all NaN": (lambda: analysis.linear_regression([np.nan] * 3, [1, 2, 3]), ValueError, "0 rows without NaN"),
    "constant column": (
        lambda: analysis.linear_regression(np.c_[[1.0, 2, 3, 4], np.full(4, 0.1)], [1, 2, 3, 5]),
        ValueError,
        "rank 1, but 2 columns: column 1.*constant",
    ),
    "dependent columns": (
        lambda: analysis.linear_regression(_matrix() @ np.array([[1, 0, 1], [0, 1, 2], [0, 0, 0.0]]), np.arange(ROWS)),
        ValueError,
        "rank 2, but 3 columns: column 2",
    ),
    "aggregate": (lambda: analysis.group_aggregate([1], [1], "mode"), ValueError, "'mode' is not known; .*median, min"),
    "no aggregate": (lambda: analysis.group_aggregate([1], [1], []), ValueError, "aggregates is"),
    "aggregate twice": (lambda: analysis.group_aggregate([1], [1], "sum,sum"), ValueError, "twice"),
    "keys too few": (lambda: analysis.group_aggregate([1, 2], [1]), ValueError, "by has 1 rows.* 2"),
    "keys of two dimensions": (lambda: analysis.group_aggregate([1, 2], [[1], [2]]), ValueError, "by has 2 dimensions"),
    "complex keys": (lambda: analysis.group_aggregate([1], np.ones(1) * 1j), TypeError, "by is complex128"),
    "keys without order": (
        lambda: analysis.group_aggregate([1, 2], np.array([1, "a"], dtype=object)),
        TypeError,
        "cannot be grouped and sorted",
    ),
    "keys that are objects": (
        lambda: analysis.group_aggregate([1], np.array([datetime(2024, 1, 1)], dtype=object)),
        TypeError,
        "keys of type datetime",
    ),
    "no such column": (lambda: analysis.group_aggregate({"a": [1]}, "b"), ValueError, "no column 'b'; it has a"),
    "nothing to aggregate": (lambda: analysis.group_aggregate({"a": [1]}, "a"), ValueError, "no column beside a"),
    "text to aggregate": (
        lambda: analysis.group_aggregate({"a": [1], "t": ["x"]}, "a"),
        TypeError,
        "column 't' is <U1",
    ),
    "columns of an array": (lambda: analysis.group_aggregate([1], [1], columns="x"), ValueError, "needs a table"),
    "results of one name": (
        lambda: analysis.group_aggregate({"x_sum": [1], "x": [1]}, "x_sum", "sum"),
        ValueError,
        "two results are called x_sum",
    ),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_input_is_explained(name):
    call, error, message = BAD[name]
    with pytest.raises(error, match=message):
        call()


def test_times_are_taken_as_objects_and_with_a_zone():
    west = timezone(timedelta(hours=-2))
    moments = [datetime(2024, 1, 1, 23, tzinfo=west), datetime(2024, 1, 2, 2, tzinfo=UTC)]
    index = pd.to_datetime(moments, utc=True)
    for times in (moments, index, pd.Series(index), index.tz_convert("Asia/Tokyo")):
        bars = analysis.resample_ohlc(times, [1.0, 2.0], frequency="1h")
        assert bars["time"].astype("M8[h]").tolist() == [datetime(2024, 1, 2, 1), datetime(2024, 1, 2, 2)]


@pytest.mark.parametrize("name", analysis.__all__)
def test_signature_suits_a_command_line(name):
    function = getattr(analysis, name)
    parameters = inspect.signature(function).parameters.values()
    assert function.__doc__.splitlines()[0].endswith(".")
    assert all(parameter.annotation is not inspect.Parameter.empty for parameter in parameters)
    assert all(parameter.name in function.__doc__ for parameter in parameters)


def _run(code):
    return subprocess.run(
        [sys.executable, "-B", "-c", code], cwd=PACKAGE, capture_output=True, text=True, timeout=60, check=False
    )


def test_importing_the_package_loads_no_numpy():
    done = _run("import sys, krait; sys.exit('numpy' in sys.modules or 'pandas' in sys.modules)")
    assert done.returncode == 0, done.stderr


def test_arrays_need_no_pandas():
    code = """
import sys
import numpy as np
sys.modules["pandas"] = None  # an import of it fails from here on
from krait import analysis as a
x = np.random.default_rng(0).normal(size=(50, 3))
t = np.datetime64("2024-01-01", "s") + np.arange(50)
a.normalize(x); a.correlation(x); a.describe(x); a.quantile(x)
for how in ("max", "mean", "median", "min", "std", "sum"):
    a.rolling(x, 5, how)
a.zscore_anomalies(x, 10); a.zscore_anomalies(x, "10s", times=t); a.linear_regression(x[:, :2], x[:, 2])
a.resample_ohlc(t, x[:, 0]); a.group_aggregate(x, np.arange(50) % 7)
"""
    done = _run(code)
    assert done.returncode == 0, done.stderr
