"""Groups of rows: keys turned into sorted codes, and one number per run of equal codes.

Missing keys (None, NaN, NaT) belong to no group and NaN values are skipped, as in pandas. Keys may be whole numbers,
bool, float, text or times; a mixture that has no order is refused.
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from krait._analysis_input import Array, Bools, Floats, Ints


class Runs(NamedTuple):
    """Values without NaN, ordered by code, and where each code's run lies among them."""

    values: Floats
    codes: Ints  # one per run
    starts: Ints
    counts: Ints


def runs_of(values: Floats, codes: Ints) -> Runs:
    """The runs of `values` under sorted `codes`; NaN is left out, so a code may have no run."""
    present = ~np.isnan(values)
    if not present.all():
        values, codes = values[present], codes[present]
    edge = np.ones(len(codes), dtype=np.bool_)
    np.not_equal(codes[1:], codes[:-1], out=edge[1:])
    starts = np.flatnonzero(edge)
    return Runs(values, codes[starts], starts, np.diff(starts, append=len(codes)))


def aggregate(runs: Runs, groups: int, how: str, ddof: int = 1) -> Array:
    """One number for each of `groups` codes: int64 for count, else float64; NaN (sum: 0) where a code has no value."""
    if how == "count":
        counts = np.zeros(groups, dtype=np.int64)
        counts[runs.codes] = runs.counts
        return counts
    out = np.full(groups, 0.0 if how == "sum" else np.nan)
    if len(runs.starts):
        out[runs.codes] = _REDUCERS[how](runs, ddof)
    return out


def group_codes(keys: list[Array], names: list[str]) -> tuple[Ints, list[Array]]:
    """A code for each row, -1 where a key is missing, and per key its value in each group; groups in sorted order."""
    parts = [_factorize(key, name) for key, name in zip(keys, names, strict=True)]
    codes, size = parts[0][0], len(parts[0][1])
    for more, labels in parts[1:]:  # compact after each key, so that the product of two cannot overflow
        codes, kept = _compact(np.where((codes < 0) | (more < 0), -1, codes * len(labels) + more))
        size = len(kept)
    some_row = np.zeros(size, dtype=np.int64)
    rows = np.flatnonzero(codes >= 0)
    some_row[codes[rows]] = rows
    return codes, [labels[part[some_row]] if size else labels[:0] for part, labels in parts]


def by_code(codes: Ints) -> Ints:
    """The rows that have a code, ordered by it and otherwise as they stood."""
    rows = np.flatnonzero(codes >= 0)
    kept = codes[rows]
    if kept.size and kept.max() < 2**16:
        kept = kept.astype(np.uint16)  # numpy sorts 16 bits by radix, seven times faster
    order: Ints = rows[np.argsort(kept, kind="stable")]
    return order


def _factorize(keys: Array, name: str) -> tuple[Ints, Array]:
    """Codes of one key and its distinct values, sorted."""
    keys = keys.astype(keys.dtype.newbyteorder("="), copy=False)
    kind = keys.dtype.kind
    if kind in "OUST":
        return _factorize_objects(keys, name)
    if kind in "mM":
        return _factorize_sorted(keys, ~np.isnat(keys))
    if kind == "f":
        return _factorize_sorted(keys, ~np.isnan(keys))
    if kind in "iub":
        return _factorize_integers(keys)
    raise TypeError(f"{name} is {keys.dtype}; expected keys that are numbers, bool, text or times")


def _factorize_sorted(keys: Array, present: Bools) -> tuple[Ints, Array]:
    codes = np.full(len(keys), -1, dtype=np.int64)
    labels, codes[present] = np.unique(keys[present], return_inverse=True)
    return codes, labels


def _factorize_integers(keys: Array) -> tuple[Ints, Array]:
    """By a table instead of a sort where the keys lie close together, as identifiers do."""
    low, high = int(keys.min()), int(keys.max())
    if high - low > 4 * len(keys) + 1024:
        return _factorize_sorted(keys, np.ones(len(keys), dtype=np.bool_))
    wide = keys if keys.dtype.itemsize == 8 else keys.astype(np.int64)  # int8: 127 - -128 must not overflow
    at = (wide - wide.min()).astype(np.int64)
    seen = np.zeros(high - low + 1, dtype=np.bool_)
    seen[at] = True
    codes = (np.cumsum(seen) - 1)[at]
    labels = np.empty(int(seen.sum()), dtype=keys.dtype)
    labels[codes] = keys
    return codes, labels


def _factorize_objects(keys: Array, name: str) -> tuple[Ints, Array]:
    """Text and whatever else can be hashed and sorted."""
    seen: dict[object, int] = {}
    try:
        found = np.fromiter((seen.setdefault(key, len(seen)) for key in keys.tolist()), np.int64, len(keys))
        ordered = sorted(key for key in seen if not _is_missing(key))  # type: ignore[type-var]
    except TypeError as error:
        raise TypeError(f"{name} holds keys that cannot be grouped and sorted: {error}") from None
    labels = np.array(ordered) if ordered else np.empty(0, dtype="U1")
    if labels.dtype.kind == "O" or labels.ndim != 1:
        kind = type(ordered[0]).__name__
        raise TypeError(f"{name} holds keys of type {kind}; expected numbers, bool, text or datetime64")
    rank = np.full(len(seen), -1, dtype=np.int64)
    rank[[seen[key] for key in ordered]] = np.arange(len(ordered))
    return rank[found], labels


def _compact(codes: Ints) -> tuple[Ints, Array]:
    return _factorize_sorted(codes, codes >= 0)


def _is_missing(key: object) -> bool:
    return key is None or type(key).__name__ in ("NAType", "NaTType") or (isinstance(key, float) and key != key)


def _sums(runs: Runs) -> Floats:
    return np.add.reduceat(runs.values, runs.starts)


def _variances(runs: Runs, ddof: int) -> Floats:
    """About each group's first value, so that equal values give exactly 0; the shift is within the group's range."""
    shifted = runs.values - np.repeat(runs.values[runs.starts], runs.counts)
    shifted -= np.repeat(np.add.reduceat(shifted, runs.starts) / runs.counts, runs.counts)
    shifted *= shifted
    freedom = np.where(runs.counts > ddof, runs.counts - ddof, np.nan)
    result: Floats = np.add.reduceat(shifted, runs.starts) / freedom
    return result


def _medians(runs: Runs) -> Floats:
    ordered = runs.values[np.lexsort((runs.values, np.repeat(runs.codes, runs.counts)))]
    low, high = ordered[runs.starts + (runs.counts - 1) // 2], ordered[runs.starts + runs.counts // 2]
    result: Floats = np.where(low == high, low, low * 0.5 + high * 0.5)
    return result


_REDUCERS: dict[str, Callable[[Runs, int], Floats]] = {
    "first": lambda runs, _: runs.values[runs.starts],
    "last": lambda runs, _: runs.values[runs.starts + runs.counts - 1],
    "max": lambda runs, _: np.maximum.reduceat(runs.values, runs.starts),
    "mean": lambda runs, _: _sums(runs) / runs.counts,
    "median": lambda runs, _: _medians(runs),
    "min": lambda runs, _: np.minimum.reduceat(runs.values, runs.starts),
    "std": lambda runs, ddof: np.sqrt(_variances(runs, ddof)),
    "sum": lambda runs, _: _sums(runs),
    "var": _variances,
}
AGGREGATES = tuple(sorted([*_REDUCERS, "count"]))
