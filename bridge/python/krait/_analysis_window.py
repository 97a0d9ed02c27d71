"""Statistics of moving windows over float64 columns (columns, rows), right whatever lies outside a window.

A window is put together from pieces of 1, 2, 4, 8 ... rows, so n rows cost n log(window) and nothing is ever subtracted
again: a huge value leaves no trace once it is out of the window (the usual running sum keeps its rounding error), and
a window of equal values has a standard deviation of exactly 0. Tried and dropped: running sums (wrong after a large
value), sums over sliding_window_view (right, but n * window), prefix and suffix sums per block (no std without a loop).
"""

from bisect import bisect_left, insort
from collections.abc import Callable, Iterator
from typing import TypeAlias

import numpy as np

from krait._analysis_input import Array, Floats, Ints

# The join of two neighbouring pieces: left, right, rows in the left piece, rows in the right piece.
Join: TypeAlias = Callable[[Floats, Floats, int, int], Floats]

_BLOCK = 1 << 13  # rows worked on at a time: all pieces stay in the processor's cache, twice as fast as without


def fold(level: Floats, window: int, join: Join) -> Floats:
    """`join` over each full window along the last axis: n values give n - window + 1 results."""
    results = level.shape[-1] - window + 1
    out, done, length = None, 0, 1
    while True:
        if window & length:
            piece = level[..., done : done + results]
            out = piece if out is None else join(out, piece, done, length)
            done += length
        if done == window:
            return out  # type: ignore[return-value]  # window is at least 1, so some bit was set
        level = join(level[..., :-length], level[..., length:], length, length)
        length *= 2


def moving(columns: Floats, window: int, min_periods: int, statistic: str, ddof: int) -> Floats:
    """One statistic of the last `window` rows at each row, (columns, rows); NaN where values are too few."""
    out = np.full(columns.shape, np.nan)
    window = min(window, columns.shape[1])  # a longer one never fills
    for cols, top, bottom in _blocks(columns, window) if min_periods <= window else ():
        block = _rows_behind(columns[cols], top, bottom, window)
        if statistic == "std":
            result = _moments(block, window, min_periods, ddof)[1]
        elif statistic == "median":
            result = _medians(block, window, min_periods)
        elif min_periods < window:
            result = _partial(block, window, min_periods, statistic)
        else:
            result = fold(block, window, _JOINS[statistic])  # a NaN makes each of its windows NaN by itself
            result = result / window if statistic == "mean" else result
        out[cols, top:bottom] = result
    return out


def moving_moments(columns: Floats, window: int, min_periods: int, ddof: int) -> tuple[Floats, Floats]:
    """Mean and standard deviation of the last `window` rows at each row, as `moving` gives them one by one."""
    means, stds = np.full(columns.shape, np.nan), np.full(columns.shape, np.nan)
    window = min(window, columns.shape[1])
    for cols, top, bottom in _blocks(columns, window) if min_periods <= window else ():
        block = _rows_behind(columns[cols], top, bottom, window)
        means[cols, top:bottom], stds[cols, top:bottom] = _moments(block, window, min_periods, ddof)
    return means, stds


def moments_between(columns: Floats, start: Ints, stop: Ints, min_periods: int, ddof: int) -> tuple[Floats, Floats]:
    """Mean and standard deviation of rows start[i] to stop[i] - 1, neither ever going back and stop[i] <= i + 1."""
    means, stds = np.empty(columns.shape), np.empty(columns.shape)
    for cols, top, bottom in _blocks(columns, int((stop - start).max())):
        first = int(start[top])
        block = _missing_as_nan(columns[cols, first:bottom])
        pieces = _fold_between(_pieces(block), start[top:bottom] - first, stop[top:bottom] - first)
        means[cols, top:bottom], stds[cols, top:bottom] = _finish(pieces, min_periods, ddof)
    return means, stds


def _fold_between(level: Floats, position: Ints, stop: Ints) -> Floats:
    """`fold` of pieces for windows that differ in length."""
    out = np.zeros((*level.shape[:2], len(position)))
    left, length = stop - position, 1
    position = position.copy()
    while left.any():
        rows = np.flatnonzero(left & length)
        out[..., rows] = _join(out[..., rows], level[..., position[rows]], 0, 0)
        position[rows] += length
        left[rows] -= length
        if left.any():
            level = _join(level[..., :-length], level[..., length:], length, length)
            length *= 2
    return out


def _blocks(columns: Floats, window: int) -> Iterator[tuple[slice, int, int]]:
    """Columns, first row and end of each block; long enough that the window - 1 rows behind it are no great cost."""
    size, rows = columns.shape
    tall = min(rows, max(_BLOCK, 4 * window))
    wide = max(1, _BLOCK // tall)
    for top in range(0, rows, tall):
        for left in range(0, size, wide):
            yield slice(left, left + wide), top, min(rows, top + tall)


def _rows_behind(columns: Floats, top: int, bottom: int, window: int) -> Floats:
    """Rows top to bottom with the window - 1 before them, as missing rows where the data has not begun."""
    first = top - window + 1
    block = _missing_as_nan(columns[:, max(first, 0) : bottom])
    if first >= 0:
        return block
    return np.concatenate([np.full((len(block), -first), np.nan), block], axis=1)


def _missing_as_nan(block: Floats) -> Floats:
    """Infinite values count as missing, as in pandas' rolling."""
    infinite = np.isinf(block)
    return np.where(infinite, np.nan, block) if infinite.any() else block


def _partial(block: Floats, window: int, min_periods: int, statistic: str) -> Floats:
    """Windows that may miss values: those are skipped, and counted."""
    present = ~np.isnan(block)
    count = fold(present.astype(np.float64), window, _JOINS["sum"])
    result = fold(np.where(present, block, _NOTHING[statistic]), window, _JOINS[statistic])
    if statistic == "mean":
        result = result / np.maximum(count, 1)
    return np.where(count < min_periods, np.nan, result)


def _medians(block: Floats, window: int, min_periods: int) -> Floats:
    """One value enters a sorted list, one leaves it: whatever the window, faster than to let numpy sort each."""
    return np.array([_walk(column.tolist(), window, min_periods) for column in block])


def _walk(values: list[float], window: int, min_periods: int) -> list[float]:
    ordered: list[float] = []
    medians = []
    for at, value in enumerate(values, 1 - window):
        if value == value:
            insort(ordered, value)
        if at >= 0:
            count = len(ordered)
            enough = count >= min_periods
            medians.append(ordered[(count - 1) // 2] * 0.5 + ordered[count // 2] * 0.5 if enough else np.nan)
            if (oldest := values[at]) == oldest:
                del ordered[bisect_left(ordered, oldest)]
    return medians


def _moments(block: Floats, window: int, min_periods: int, ddof: int) -> tuple[Floats, Floats]:
    if min_periods < window:
        return _finish(fold(_pieces(block), window, _join), min_periods, ddof)
    mean, squares = fold(np.stack([block, np.zeros_like(block)]), window, _join_full)
    return mean, _root(squares, window - ddof)


def _pieces(block: Floats) -> Floats:
    """Pieces of one row each: layers mean, sum of squared deviations, count."""
    present = ~np.isnan(block)
    return np.stack([np.where(present, block, 0.0), np.zeros_like(block), present.astype(np.float64)])


def _join_full(left: Floats, right: Floats, rows_left: int, rows_right: int) -> Floats:
    """Mean and sum of squared deviations of two pieces together (Chan, Golub, LeVeque 1979): only adds."""
    rows = rows_left + rows_right
    out = np.empty(left.shape)
    delta = right[0] - left[0]
    np.multiply(delta, rows_right / rows, out=out[0])
    out[0] += left[0]
    np.add(left[1], right[1], out=out[1])
    delta *= delta
    delta *= rows_left * rows_right / rows
    out[1] += delta
    return out


def _join(left: Floats, right: Floats, _rows_left: int, _rows_right: int) -> Floats:
    """The same where values may be missing: each piece brings its own count."""
    count = left[2] + right[2]
    delta = right[0] - left[0]
    share = right[2] / np.maximum(count, 1)
    return np.stack([left[0] + delta * share, left[1] + right[1] + delta * delta * share * left[2], count])


def _finish(pieces: Floats, min_periods: int, ddof: int) -> tuple[Floats, Floats]:
    mean, squares, count = pieces
    few = count < min_periods
    return np.where(few, np.nan, mean), np.where(few, np.nan, _root(squares, count - ddof))


def _root(squares: Floats, freedom: Array | int) -> Floats:
    """The standard deviation, NaN without a degree of freedom."""
    usable = np.where(np.greater(freedom, 0), freedom, np.nan)
    result: Floats = np.sqrt(squares / usable)
    return result


_JOINS: dict[str, Join] = {
    "sum": lambda left, right, *_: left + right,
    "mean": lambda left, right, *_: left + right,
    "min": lambda left, right, *_: np.minimum(left, right),
    "max": lambda left, right, *_: np.maximum(left, right),
}
_NOTHING = {"sum": 0.0, "mean": 0.0, "min": np.inf, "max": -np.inf}
STATISTICS = ("max", "mean", "median", "min", "std", "sum")
