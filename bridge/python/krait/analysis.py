"""Ready-made analysis for C programs and Python teams: arrays in, arrays out.

Data. `data` is a matrix of rows x columns: a numpy array, a list of rows, a DataFrame, a mapping of column names to
arrays or a structured array; one dimension (array, Series, list) is one column. Numbers of any kind are taken as
float64 (whole numbers beyond 2**53 are rounded); text, complex numbers and times are refused, not converted.

Results are new numpy arrays, C-contiguous, never views of the input, or a flat dict of such arrays and of Python
numbers. Their names, dtypes and dimensions depend on the arguments' types and options, never on the values. The input
is only read, and nothing of it is kept after the call.

Rules, which are pandas' own: NaN is missing and skipped; `ddof` is what is taken from the count in a variance, 1 by
default (a sample); quantiles are linear. Other than in pandas, the standard deviation of values that are all equal is
exactly 0, and a result divided by it is NaN, never infinite and never rounding noise.

Errors: TypeError for the wrong kind of thing, ValueError for a wrong value, shape or length; both say which argument,
what it is and what would be right. No warning of numpy's escapes.
"""

from collections.abc import Sequence
from datetime import timedelta
from typing import Any, TypeAlias
from warnings import warn

import numpy as np

from krait import _analysis_groups as groups
from krait import _analysis_input as take
from krait import _analysis_window as windows
from krait._analysis_input import Array, Data, Floats, Ints

__all__ = [
    "correlation",
    "describe",
    "group_aggregate",
    "linear_regression",
    "normalize",
    "quantile",
    "resample_ohlc",
    "rolling",
    "zscore_anomalies",
]

Named: TypeAlias = dict[str, Any]

# A fine frequency over a long time makes a table of empty bins that nobody meant: 50 million are 2.4 GB.
MAX_BINS = 50_000_000

_TIME_NAMES = ("time", "date", "datetime", "timestamp")
_BAR_NAMES = ("open", "high", "low", "close")


def normalize(data: Data, *, ddof: int = 1) -> Floats:
    """Each column less its mean, divided by its standard deviation: its values in sigmas.

    data: rows x columns, or one column. ddof: 0 or more.
    Returns float64 of the same shape, without unit; the bits of `(df - df.mean()) / df.std(ddof=ddof)` on
    `pandas.DataFrame(list_of_rows)` (without the bottleneck package, which sums less exactly). NaN stays NaN. A column
    whose values are all equal, or with `ddof` values or fewer, is NaN throughout.
    """
    ddof = take.whole(ddof, "ddof", 0)
    columns, ndim = take.as_columns(data)
    with np.errstate(all="ignore"):
        return _like_data(_standardize(columns, ddof), ndim)


def correlation(data: Data, *, min_periods: int = 1) -> Floats:
    """Pearson's correlation of each column with each other.

    data: rows x columns. min_periods: rows a pair of columns must have in common, else its entry is NaN.
    Returns float64 (columns, columns), symmetric, from -1 to 1, with a diagonal of exactly 1. Each pair is taken over
    the rows where both are finite, as in pandas. A column whose values are all equal correlates with nothing: NaN.
    """
    min_periods = take.whole(min_periods, "min_periods", 1)
    columns, ndim = take.as_columns(data)
    if ndim == 1:
        raise ValueError(f"data has 1 dimension, shape ({columns.shape[1]},); expected 2 (rows x columns)")
    finite = np.isfinite(columns)
    with np.errstate(all="ignore"):
        if (finite == finite[0]).all():  # the usual cases: nothing missing, or whole rows
            return _correlate(columns if finite[0].all() else columns[:, finite[0]], min_periods)
        return _correlate_pairs(columns, finite, min_periods)


def describe(data: Data, *, ddof: int = 1) -> Named:
    """Count, mean, standard deviation, extremes and quartiles of each column.

    data: rows x columns, or one column. ddof: of the standard deviation.
    Returns, named as in pandas, `count` (int64: values that are not NaN), `mean`, `std`, `min`, `25%`, `50%`, `75%`,
    `max` (float64, in the column's unit), each of shape (columns,). NaN is skipped; a column of nothing else is NaN.
    """
    ddof = take.whole(ddof, "ddof", 0)
    columns, _ = take.as_columns(data)
    quartiles = np.array([0.25, 0.5, 0.75])
    with np.errstate(all="ignore"):
        moments = _by_column(columns, lambda values: _moments(values, ddof))
        low, middle, high = _by_column(columns, lambda values: _quantiles(values, quartiles))
    count, mean, std, least, most = moments
    return {
        "count": count.astype(np.int64),
        "mean": mean,
        "std": std,
        "min": least,
        "25%": low,
        "50%": middle,
        "75%": high,
        "max": most,
    }


def quantile(data: Data, q: float | Sequence[float] = 0.5) -> Floats | float:
    """The value below which a share `q` of each column lies, interpolated linearly.

    data: rows x columns, or one column. q: one number or several, each from 0 to 1; 0.5 is the median.
    Returns float64 in the column's unit: for several q (quantiles, columns), for one (columns,); if data is one column
    (quantiles,) or a float. NaN is skipped; a column of nothing else is NaN.
    """
    shares = np.asarray(q)
    if shares.dtype.kind not in "iuf" or shares.ndim > 1:
        raise TypeError(f"q is {shares.dtype} with {shares.ndim} dimensions; expected a number or several, from 0 to 1")
    if not (shares.size and ((shares >= 0) & (shares <= 1)).all()):
        raise ValueError(f"q is {q}; expected numbers from 0 to 1")
    columns, ndim = take.as_columns(data)
    with np.errstate(all="ignore"):
        found = _by_column(columns, lambda values: _quantiles(values, np.atleast_1d(shares).astype(np.float64)))
    if ndim == 1:
        return found[:, 0] if shares.ndim else float(found[0, 0])
    return found if shares.ndim else found[0]


def rolling(
    data: Data, window: int, statistic: str = "mean", *, min_periods: int | None = None, ddof: int = 1
) -> Floats:
    """A statistic of the last `window` rows at each row, the row itself included.

    data: rows x columns, or one column. window: rows, at least 1; one longer than the data is never full.
    statistic: max, mean, median, min, std or sum. min_periods: values a window needs, 1 to window; None: all of them,
    so the first window - 1 rows, and each window with a NaN, are NaN. With less, NaN is skipped. ddof: of std.
    Returns float64 of the same shape, in the column's unit. Infinite values count as missing, as in pandas. A large
    value leaves no rounding error in the windows after it.
    """
    window = take.whole(window, "window", 1)
    min_periods = _min_periods(min_periods, window)
    ddof = take.whole(ddof, "ddof", 0)
    if statistic not in windows.STATISTICS:
        raise ValueError(f"statistic is {statistic!r}; expected one of {', '.join(windows.STATISTICS)}")
    columns, ndim = take.as_columns(data)
    with np.errstate(all="ignore"):
        return _like_data(windows.moving(columns, window, min_periods, statistic, ddof), ndim)


def zscore_anomalies(
    data: Data,
    window: int | str | timedelta | np.timedelta64,
    *,
    times: Data = None,
    threshold: float = 2.0,
    include_point: bool = True,
    min_periods: int | None = None,
    ddof: int = 1,
) -> Named:
    """Points that lie more than `threshold` standard deviations from the mean of a window that slides along.

    data: rows x columns, or one column. window: rows (int), or with `times` a duration: '60s', '5min', '1D',
    numpy.timedelta64 or datetime.timedelta. times: datetime64, sorted, one per row.
    include_point: True: the window ends with the point: its last `window` rows, or (t - window, t]. False: with the
    row before it: the `window` rows before, or [t - window, t). Judged with itself, a point raises the very deviation
    it is measured by: in a window of n its |z| cannot exceed (n - 1) / sqrt(n) (sqrt(n - 1) for ddof=0), 2.85 for 10
    rows. That is `z_limit`; at or above it nothing can be found, and a UserWarning says so.
    min_periods: values a window needs; None: all `window` rows, or 2 in a duration. ddof: of the standard deviation.

    Returns `z` (sigmas), `mean`, `std` (the window's, in the column's unit): float64 of the shape of data;
    `anomaly`: bool of that shape, |z| > threshold; `indices`, `columns`: int64, row and column of each anomaly, by
    row; and counts: `anomalies`; `tested`: points with a z; `zero_std`: points whose window has a standard deviation
    of 0, where z is NaN and nothing an anomaly; `undefined`: all others (NaN, or a window with too few values);
    `z_limit`: float, infinite where nothing bounds z. tested + zero_std + undefined = the number of values.
    """
    if isinstance(threshold, (str, bool)) or not 0 <= (threshold := float(threshold)) < np.inf:
        raise ValueError(f"threshold is {threshold!r}; expected a finite number of sigmas, at least 0")
    ddof = take.whole(ddof, "ddof", 0)
    columns, ndim = take.as_columns(data)
    limit = np.inf
    with np.errstate(all="ignore"):
        if isinstance(window, (str, timedelta, np.timedelta64)):
            mean, std = _moments_in_time(columns, window, times, include_point, min_periods, ddof)
        else:
            rows = take.whole(window, "window", 1)
            mean, std = windows.moving_moments(columns, rows, _min_periods(min_periods, rows), ddof)
            if include_point:
                limit = _z_limit(rows, ddof, threshold)
            else:
                mean, std = _one_later(mean), _one_later(std)
        return _judge(columns, mean, std, threshold, ndim) | {"z_limit": limit}


def linear_regression(x: Data, y: Data, *, intercept: bool = True) -> Named:
    """Ordinary least squares of `y` on the columns of `x`.

    x: rows x columns, or one column. y: one column of as many rows. intercept: whether the line has a constant term.
    Rows with a NaN in x or y are dropped, and counted; infinite values are refused.

    Returns `coefficients`, `standard_errors`, `t_values`: float64 (columns,), a coefficient in units of y per unit of
    its x; `intercept`, `intercept_standard_error`, `intercept_t_value`: floats, 0, NaN and NaN without one;
    `r_squared`: share of the variance of y explained (about 0 instead of the mean if there is no intercept; NaN if y
    does not vary); `residual_std`: sqrt(residual sum of squares / degrees of freedom), in units of y; `n`: rows used;
    `dropped`: rows dropped; `degrees_of_freedom`: n less the number of terms. With none left, errors are NaN.
    ValueError if the columns depend linearly on each other (or are constant beside an intercept): it names one.
    """
    columns, _ = take.as_columns(x, "x")
    target = take.as_vector(y, "y", columns.shape[1])
    together = np.vstack([columns, target])
    keep = ~np.isnan(together).any(axis=0)
    if not keep.all():
        together = together[:, keep]
    if np.isinf(together).any():
        raise ValueError("x or y holds an infinite value; expected finite numbers, or NaN for a missing one")
    terms, used = len(columns) + bool(intercept), together.shape[1]
    if used < terms:
        raise ValueError(f"{used} rows without NaN for {terms} terms; expected at least as many rows as terms")
    with np.errstate(all="ignore"):
        fit = _least_squares(together, bool(intercept))
    return fit | {"n": used, "dropped": len(target) - used, "degrees_of_freedom": used - terms}


def resample_ohlc(time: Data, *columns: Data, frequency: str = "1D", drop_empty: bool = False) -> Named:
    """Open, high, low and close of each period, from single prices or from finer bars.

    time and columns: sorted datetime64, then `price[, volume]` or `open, high, low, close[, volume]`, one-dimensional;
    or one table alone (structured array, DataFrame, mapping) that has these names in any case, its time being called
    time, date, datetime or timestamp, or being a DataFrame's or Series' index, its price `price` or, without bars,
    `close`; other columns are ignored.
    frequency: a count and ns, us, ms, s, min, h, D, W (weeks, Monday to Sunday) or M (calendar months): '5min', '1W'.
    Periods up to days start at multiples from midnight of the first day, include their start and are labelled with it.
    Weeks and months are labelled with their last day (a Sunday, a month's end) and include it; of several, the first
    one ends with the week or month of the first row. Times with a zone are resampled in UTC.
    drop_empty: leave out periods without a price; otherwise they are there, with NaN prices, volume 0 and count 0.

    Returns `time`: datetime64 in the unit of the input, or of the frequency if that is finer; `open`, `high`, `low`,
    `close`: float64 in the unit of the price, NaN skipped; `volume`: float64, summed, only if volumes were given;
    `count`: int64, rows with a price. ValueError if more than MAX_BINS periods would be made.
    """
    if not columns:
        time, columns = _table_of_prices(time)
    if len(columns) not in (1, 2, 4, 5):
        raise ValueError(
            f"{len(columns)} columns after time; expected price[, volume] or open, high, low, close[, volume]"
        )
    stamps = take.as_times(time, "time")
    values = [take.as_vector(column, f"column {at}", len(stamps)) for at, column in enumerate(columns, 1)]
    volume = values.pop() if len(values) in (2, 5) else None
    count, unit = take.parse_frequency(frequency)
    periods, first, step, finer = _periods(stamps, count, unit)
    bins, present = _present_bins(periods, values, drop_empty, frequency)
    size = len(present)
    named: Named = {"time": _labels(first + present * step, unit, finer)}
    named |= _bars(values, bins, size)
    if volume is not None:
        named["volume"] = groups.aggregate(_runs_in_bins(volume, bins), size, "sum")
    priced = np.where(~np.isnan(values).all(axis=0), 1.0, np.nan)
    return named | {"count": groups.aggregate(_runs_in_bins(priced, bins), size, "count")}


def group_aggregate(
    data: Data,
    by: Data,
    aggregates: str | Sequence[str] = "mean",
    *,
    columns: str | Sequence[str] | None = None,
    ddof: int = 1,
) -> Named:
    """One row per distinct key: aggregates of the values that share it.

    Two forms. A table (structured array, DataFrame, mapping) with `by` the name of its key column, or several names;
    `columns` names the columns to aggregate (None: all others). Or data rows x columns, or one column, with `by` an
    array of keys, one per row. Keys: whole numbers, float, bool, text, times.
    aggregates: one or several of count, first, last, max, mean, median, min, std, sum, var; or text such as 'mean,std'.
    ddof: of std and var.

    Returns, sorted by key, rows with a missing key (None, NaN, NaT) dropped: of a table, the key columns under their
    names and `<column>_<aggregate>` of shape (groups,); else `key` and each aggregate under its name, (groups, columns)
    or, if data is one column, (groups,). count is int64, all else float64 in the column's unit (var: squared). NaN is
    skipped: a group of nothing else has count 0, sum 0 and NaN for the rest.
    """
    wanted = take.names(aggregates, "aggregates")
    unknown = [how for how in wanted if how not in groups.AGGREGATES]
    if unknown:
        raise ValueError(f"aggregate {unknown[0]!r} is not known; expected of {', '.join(groups.AGGREGATES)}")
    ddof = take.whole(ddof, "ddof", 0)
    if _is_name(by) and (table := take.as_table(data)) is not None:
        return _aggregate_table(table, list(by) if not isinstance(by, str) else [by], wanted, columns, ddof)
    if columns is not None:
        raise ValueError("columns needs a table and by the name of its key; here by is an array or data has no names")
    values, ndim = take.as_columns(data)
    codes, (labels,) = groups.group_codes([take.as_keys(by, values.shape[1])], ["by"])
    result: Named = {"key": labels}
    for how, found in _aggregate(values, codes, len(labels), wanted, ddof).items():
        result[how] = _like_data(found, ndim)
    return result


def _like_data(columns: Array, ndim: int) -> Array:
    """(columns, rows) in the shape of the data: rows first, and C-contiguous, for that is how C reads it."""
    rows: Array = columns[0] if ndim == 1 else np.ascontiguousarray(columns.T)
    return rows


def _by_column(columns: Floats, statistics: Any) -> Floats:
    """statistics(values without NaN) -> (results, ...) over the last axis: at once if nothing is missing."""
    missing = np.isnan(columns)
    if not missing.any():
        return np.asarray(statistics(columns))
    return np.stack([statistics(column[~gone]) for column, gone in zip(columns, missing, strict=True)], axis=-1)


def _standardize(columns: Floats, ddof: int) -> Floats:
    """The steps of pandas' mean and std in their order, for the sake of the last bit."""
    count: Any = columns.shape[1]
    mean = np.add.reduce(columns, axis=1) / count
    z: Floats
    if not np.isnan(mean).any():
        z = columns - mean[:, None]
        squares = z * z
    else:  # NaN as 0 in both sums, and not counted
        present = ~np.isnan(columns)
        count = present.sum(axis=1)
        mean = np.add.reduce(np.where(present, columns, 0.0), axis=1) / count
        z = columns - mean[:, None]
        squares = np.where(present, z * z, 0.0)
    std = np.sqrt(np.add.reduce(squares, axis=1) / np.where(count > ddof, count - ddof, np.nan))
    _flatten(std, mean, columns)
    z /= std[:, None]
    return z


def _flatten(std: Floats, mean: Floats, columns: Floats) -> None:
    """NaN for a deviation of 0, also where rounding of the mean hides it: 0.1 a thousand times has a std of 1e-17."""
    suspect = (std <= np.abs(mean) * 1e-10) | np.isinf(std)
    if suspect.any():
        for at in np.flatnonzero(suspect):
            values = columns[at][~np.isnan(columns[at])]
            if std[at] == 0 or (values == values[0]).all():
                std[at] = np.nan


def _moments(values: Floats, ddof: int) -> Floats:
    """Count, mean, std, min and max along the last axis of values without NaN."""
    rows = values.shape[-1]
    if rows == 0:
        return np.array([0.0, *[np.nan] * 4])
    mean = np.add.reduce(values, axis=-1) / rows
    least, most = values.min(axis=-1), values.max(axis=-1)
    off = values - mean[..., None]
    std = np.sqrt(np.add.reduce(off * off, axis=-1) / (rows - ddof if rows > ddof else np.nan))
    equal = (least == most) & np.isfinite(least) & (rows > ddof)
    return np.stack([np.full_like(mean, rows), mean, np.where(equal, 0.0, std), least, most])


def _quantiles(values: Floats, shares: Floats) -> Floats:
    """(shares, ...) along the last axis of values without NaN; interpolates as numpy does."""
    rows = values.shape[-1]
    if rows == 0:
        return np.full(len(shares), np.nan)
    position = shares * (rows - 1)
    low = np.floor(position).astype(np.int64)
    high = np.minimum(low + 1, rows - 1)
    ordered = np.partition(values, np.unique(np.concatenate([low, high])), axis=-1)
    below, above, part = ordered[..., low], ordered[..., high], position - low
    step = above - below
    between = np.where(part < 0.5, below + step * part, above - step * (1 - part))
    exact = (part == 0) | (below == above)  # not between infinities
    return np.moveaxis(np.where(exact, below, between), -1, 0)


def _centred(columns: Floats) -> Floats:
    """Columns less their mean; equal values give exactly 0, which rounding of the mean would spoil."""
    mean = np.add.reduce(columns, axis=1) / columns.shape[1]
    mean = np.where(columns.min(axis=1) == columns.max(axis=1), columns[:, 0], mean)
    return columns - mean[:, None]


def _correlate(columns: Floats, min_periods: int) -> Floats:
    size, rows = columns.shape
    if rows < min_periods:
        return np.full((size, size), np.nan)
    off = _centred(columns)
    products = off @ off.T
    length = np.sqrt(np.diagonal(products))
    result: Floats = np.clip(products / (length[:, None] * length), -1.0, 1.0)
    np.fill_diagonal(result, np.where(length > 0, 1.0, np.nan))
    return result


def _correlate_pairs(columns: Floats, finite: Array, min_periods: int) -> Floats:
    """Pair by pair: each has rows of its own, and a shortcut over all rows would lose digits to a large value."""
    size = len(columns)
    result = np.empty((size, size))
    filled = np.where(finite, columns, 0.0)
    for i in range(size):
        for j in range(i):
            both = finite[i] & finite[j]
            result[i, j] = result[j, i] = _correlate_weighted(filled[i], filled[j], both, min_periods)
        result[i, i] = _correlate(columns[i : i + 1, finite[i]], min_periods)[0, 0]
    return result


def _correlate_weighted(x: Floats, y: Floats, both: Array, min_periods: int) -> float:
    """One pair by weights of 0 and 1, which is faster than taking its rows out; unless these might all be equal."""
    weight = both.astype(np.float64)
    rows = weight.sum()
    mean_x, mean_y = _dot(x, weight) / rows, _dot(y, weight) / rows
    off_x, off_y = (x - mean_x) * weight, (y - mean_y) * weight
    square_x, square_y = _dot(off_x, off_x), _dot(off_y, off_y)
    if rows >= min_periods and square_x > rows * (1e-10 * mean_x) ** 2 and square_y > rows * (1e-10 * mean_y) ** 2:
        return float(np.clip(_dot(off_x, off_y) / (np.sqrt(square_x) * np.sqrt(square_y)), -1.0, 1.0))
    return float(_correlate(np.stack([x[both], y[both]]), min_periods)[0, 1])


def _dot(a: Floats, b: Floats) -> Any:
    """Without BLAS, whose threads cost more than they save on a single column, much more on a busy machine."""
    return np.einsum("i,i->", a, b)


def _min_periods(min_periods: int | None, window: int) -> int:
    if min_periods is None:
        return window
    least = take.whole(min_periods, "min_periods", 1)
    if least > window:
        raise ValueError(f"min_periods is {least}, more than the window of {window} rows; expected 1 to {window}")
    return least


def _moments_in_time(
    columns: Floats, window: Any, times: Data, include_point: bool, min_periods: int | None, ddof: int
) -> tuple[Floats, Floats]:
    if times is None:
        raise ValueError(f"window {window!r} is a duration, which needs times; without, give a number of rows")
    count, unit = take.as_duration(window)
    stamps = take.as_times(times, "times", columns.shape[1])
    ticks, finer = take.as_ticks(stamps, unit)
    least = 2 if min_periods is None else take.whole(min_periods, "min_periods", 1)
    span = take.ticks_in(count, unit, finer)
    since = np.maximum(ticks, np.iinfo(np.int64).min + span) - span  # without wrapping round
    start = np.searchsorted(ticks, since, side="right" if include_point else "left")
    stop = np.arange(len(ticks)) + (1 if include_point else 0)
    return windows.moments_between(columns, start, stop, least, ddof)


def _z_limit(rows: int, ddof: int, threshold: float) -> float:
    """The largest |z| of a point in a full window of its own; for ddof above 1 scaled alike."""
    limit = float((rows - 1) / np.sqrt(rows) * np.sqrt((rows - ddof) / (rows - 1))) if rows > max(ddof, 1) else 0.0
    if threshold >= limit:
        warn(
            f"in a window of {rows} rows that includes the point |z| cannot exceed {limit:.3g}, so no point passes the "
            f"threshold {threshold:g}; use a longer window, a lower threshold or include_point=False",
            UserWarning,
            stacklevel=3,
        )
    return limit


def _one_later(columns: Floats) -> Floats:
    """Windows that end a row earlier."""
    out = np.full(columns.shape, np.nan)
    out[:, 1:] = columns[:, :-1]
    return out


def _judge(columns: Floats, mean: Floats, std: Floats, threshold: float, ndim: int) -> Named:
    flat = (std == 0) & ~np.isnan(columns)
    z = (columns - mean) / np.where(std > 0, std, np.nan)
    anomaly = np.abs(z) > threshold
    tested, zero = int(np.count_nonzero(~np.isnan(z))), int(np.count_nonzero(flat))
    rows, cols = np.nonzero(anomaly.T)
    shaped = {"z": z, "mean": mean, "std": std, "anomaly": anomaly}
    return {name: _like_data(values, ndim) for name, values in shaped.items()} | {
        "indices": rows.astype(np.int64),
        "columns": cols.astype(np.int64),
        "anomalies": len(rows),
        "tested": tested,
        "zero_std": zero,
        "undefined": z.size - tested - zero,
    }


def _least_squares(together: Floats, intercept: bool) -> Named:
    """By QR of [x | y], each column centred and of length 1; its triangle holds the whole answer."""
    k, rows = len(together) - 1, together.shape[1]
    mean = np.add.reduce(together, axis=1) / rows
    off = _centred(together) if intercept else together
    scale = np.sqrt(np.add.reduce(off * off, axis=1))
    safe = np.where(scale > 0, scale, 1.0)
    triangle = np.linalg.qr((off / safe[:, None]).T, mode="r")
    _check_rank(triangle[:k, :k], rows, intercept)
    inverse = np.linalg.inv(triangle[:k, :k])
    slope = inverse @ triangle[:k, k] * safe[k] / safe[:k]
    left = float(triangle[k, k]) if rows > k else 0.0
    freedom = rows - k - intercept
    residual = abs(left) * safe[k] / np.sqrt(freedom) if freedom > 0 else np.nan
    error = residual * np.sqrt((inverse * inverse).sum(axis=1)) / safe[:k]
    lever = (mean[:k] / safe[:k]) @ inverse
    constant = float(mean[k] - mean[:k] @ slope) if intercept else 0.0
    constant_error = float(residual * np.sqrt(1 / rows + lever @ lever)) if intercept else np.nan
    return {
        "coefficients": slope,
        "intercept": constant,
        "standard_errors": error,
        "intercept_standard_error": constant_error,
        "t_values": slope / error,
        "intercept_t_value": float(np.divide(constant, constant_error)),
        "r_squared": float(1 - left * left) if scale[k] > 0 else float("nan"),
        "residual_std": float(residual),
    }


def _check_rank(triangle: Floats, rows: int, intercept: bool) -> None:
    """With columns of length 1, the diagonal is each column's distance from those before it."""
    k = len(triangle)
    singular = np.linalg.svd(triangle, compute_uv=False)
    tolerance = max(rows, k) * np.finfo(np.float64).eps
    rank = int((singular > tolerance * max(singular[0], 1.0)).sum())
    if rank < k:
        worst = int(np.abs(np.diagonal(triangle)).argmin())
        constant = ", or is constant, which the intercept stands for already" if intercept else ", or is 0"
        raise ValueError(
            f"x has rank {rank}, but {k} columns: column {worst} depends linearly on those before it{constant}; "
            "leave it out"
        )


def _table_of_prices(data: Data) -> tuple[Data, tuple[Data, ...]]:
    """Time and columns of a table, by name; the index of a DataFrame or Series where no column is a time."""
    index = getattr(data, "index", None)
    table = take.as_table(data)
    if table is None:
        if index is None or not hasattr(data, "to_numpy"):
            raise ValueError("time stands alone; expected columns after it, or a table with names")
        return index, (data,)
    known = {name.lower(): column for name, column in table.items()}
    times = [name for name in _TIME_NAMES if name in known]
    time = known[times[0]] if times else index
    if len(times) > 1 or getattr(getattr(time, "dtype", None), "kind", "") not in ("M", "O"):
        raise ValueError(f"the table has columns {list(table)}; expected one of {', '.join(_TIME_NAMES)} with times")
    bars = [name for name in _BAR_NAMES if name in known]
    prices = list(_BAR_NAMES) if len(bars) == 4 else ["price"] if not bars and "price" in known else bars
    if prices not in (list(_BAR_NAMES), ["price"], ["close"]):
        raise ValueError(f"the table has columns {list(table)}; expected price, or open, high, low, close")
    return time, tuple(known[name] for name in [*prices, *(["volume"] if "volume" in known else [])])


def _periods(stamps: Array, count: int, unit: str) -> tuple[Ints, int, int, str]:
    """The period of each row, and how to name one: period p has the ordinal first + p * step in the unit `finer`.

    An ordinal is a time in ticks for fixed periods, a number of weeks or of months otherwise.
    """
    ticks, finer = take.as_ticks(stamps, "D" if unit in "WM" else unit)
    day = take.ticks_in(1, "D", finer)
    if unit in "WM":
        ordinal = (ticks // day - 4) // 7 if unit == "W" else stamps.astype("datetime64[M]").astype(np.int64)
        return (ordinal - ordinal[0] + count - 1) // count, int(ordinal[0]), count, finer
    step = take.ticks_in(count, unit, finer)
    midnight = int(ticks[0]) // day * day
    first = midnight + (int(ticks[0]) - midnight) // step * step
    if first < -(2**63) or int(ticks[-1]) - first >= 2**63:
        raise ValueError(f"times from {stamps[0]} to {stamps[-1]} are too far apart for unit {finer!r}")
    return (ticks - first) // step, first, step, finer


def _labels(ordinals: Ints, unit: str, finer: str) -> Array:
    """The start of a fixed period; the last day of a week (day 4 of 1970 was its first Monday) or month."""
    if unit == "W":
        days = (ordinals * 7 + 10).astype("datetime64[D]")
    elif unit == "M":
        days = (ordinals + 1).astype("datetime64[M]").astype("datetime64[D]") - np.timedelta64(1, "D")
    else:
        return ordinals.astype(f"datetime64[{finer}]")
    return days.astype(f"datetime64[{finer}]")


def _present_bins(periods: Ints, values: list[Floats], drop_empty: bool, frequency: str) -> tuple[Ints, Ints]:
    """A bin for each row (-1: none) and the period of each bin."""
    if drop_empty:
        priced = ~np.isnan(values).all(axis=0)
        kept = np.unique(periods[priced])
        bins = np.searchsorted(kept, periods)
        found = np.append(kept, -1)[bins] == periods
        return np.where(found, bins, -1), kept
    size = int(periods[-1]) + 1
    if size > MAX_BINS:
        raise ValueError(
            f"frequency {frequency!r} makes {size} periods, more than {MAX_BINS}; use a longer one, or drop_empty=True"
        )
    return periods, np.arange(size)


def _runs_in_bins(values: Floats, bins: Ints) -> groups.Runs:
    inside = bins >= 0
    return groups.runs_of(values, bins) if inside.all() else groups.runs_of(values[inside], bins[inside])


def _bars(values: list[Floats], bins: Ints, size: int) -> Named:
    runs = [_runs_in_bins(column, bins) for column in values]
    if len(runs) == 1:
        runs = runs * 4
    how = ("first", "max", "min", "last")
    return {name: groups.aggregate(run, size, by) for name, run, by in zip(_BAR_NAMES, runs, how, strict=True)}


def _is_name(by: Data) -> bool:
    return isinstance(by, str) or (
        isinstance(by, (list, tuple)) and len(by) > 0 and all(isinstance(name, str) for name in by)
    )


def _aggregate_table(
    table: dict[str, Array], by: list[str], wanted: list[str], columns: str | Sequence[str] | None, ddof: int
) -> Named:
    chosen = [name for name in table if name not in by] if columns is None else columns
    chosen = [chosen] if isinstance(chosen, str) else list(chosen)
    for name in [*by, *chosen]:
        if name not in table:
            raise ValueError(f"data has no column {name!r}; it has {', '.join(table)}")
    if not chosen:
        raise ValueError(f"data has no column beside {', '.join(by)}; expected at least one to aggregate")
    values = np.stack([take.as_vector(table[name], f"column {name!r}") for name in chosen])
    codes, labels = groups.group_codes([table[name] for name in by], [f"column {name!r}" for name in by])
    found = _aggregate(values, codes, len(labels[0]), wanted, ddof)
    result: Named = dict(zip(by, labels, strict=True))
    for at, name in enumerate(chosen):
        for how in wanted:
            if f"{name}_{how}" in result:
                raise ValueError(f"two results are called {name}_{how}; rename a column")
            result[f"{name}_{how}"] = found[how][at]
    return result


def _aggregate(values: Floats, codes: Ints, size: int, wanted: list[str], ddof: int) -> Named:
    """Each aggregate of each column: (columns, groups)."""
    order = groups.by_code(codes)
    ordered = codes[order]
    with np.errstate(all="ignore"):
        runs = [groups.runs_of(column[order], ordered) for column in values]
        return {how: np.stack([groups.aggregate(run, size, how, ddof) for run in runs]) for how in wanted}
