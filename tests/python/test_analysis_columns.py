"""normalize, correlation, describe, quantile and linear_regression, against pandas, numpy and certified results."""

import numpy as np
import pandas as pd
import pytest

from krait import analysis


def _bits(values):
    """The bits of float64, all NaN alike: their sign and payload mean nothing."""
    return np.where(np.isnan(values), np.nan, values).view(np.int64)


def _pandas_normalize(rows, ddof):
    frame = pd.DataFrame(rows)
    return ((frame - frame.mean()) / frame.std(ddof=ddof)).to_numpy()


def _data(shape, seed=0):
    return np.random.default_rng(seed).normal(100, 15, shape)


@pytest.mark.parametrize("ddof", [0, 1, 2])
@pytest.mark.parametrize("shape", [(1, 1), (1, 4), (2, 1), (3, 7), (9, 2), (128, 3), (129, 5), (1000, 10), (20001, 2)])
@pytest.mark.parametrize("missing", [0, 0.1, 0.9])
def test_normalize_gives_the_bits_of_pandas(shape, ddof, missing):
    data = _data(shape)
    data[np.random.default_rng(1).random(shape) < missing] = np.nan
    expected = _pandas_normalize(data.tolist(), ddof)
    np.testing.assert_array_equal(_bits(analysis.normalize(data, ddof=ddof)), _bits(expected))
    np.testing.assert_array_equal(_bits(analysis.normalize(np.asfortranarray(data), ddof=ddof)), _bits(expected))


@pytest.mark.parametrize("missing", [0, 0.2])
def test_normalize_gives_the_bits_of_pandas_on_columns_of_all_kinds(missing):
    ramp = np.arange(1.0, 501.0)
    data = np.c_[
        ramp * 1e-150,
        ramp * 1e150,
        ramp * -1e-9 + 1e9,
        np.where(ramp == 7, 1e16, ramp),
        np.where(ramp == 7, np.inf, ramp),
        np.where(ramp == 7, np.inf, -np.inf),
        np.full(500, 5.0),
        np.full(500, np.nan),
        np.zeros(500),
        ramp % 2,
        np.where(ramp == 9, 3.0, np.nan),
    ]
    data[np.random.default_rng(1).random(data.shape) < missing] = np.nan
    with np.errstate(all="ignore"):
        expected = _pandas_normalize(data.tolist(), 1)
    np.testing.assert_array_equal(_bits(analysis.normalize(data)), _bits(expected))


def test_normalize_of_one_dimension_is_that_of_its_column():
    data = _data((50, 1))
    flat = analysis.normalize(data[:, 0])
    assert flat.shape == (50,)
    np.testing.assert_array_equal(flat, analysis.normalize(data)[:, 0])
    np.testing.assert_array_equal(flat, analysis.normalize(pd.Series(data[:, 0])))


@pytest.mark.parametrize("value", [5.0, 0.1, 1e300, -1e-300, 0.0, 1 / 3])
@pytest.mark.parametrize("rows", [2, 3, 1000])
def test_equal_values_have_no_deviation(value, rows):
    """The mean of equal values may be off by its last bit; what pandas makes of that is noise (0.9995 for 0.1)."""
    column = np.full((rows, 2), value)
    column[0, 1] = np.nan
    assert np.isnan(analysis.normalize(column)).all()
    assert analysis.describe(column)["std"].tolist() == [0, 0 if rows > 2 else pytest.approx(np.nan, nan_ok=True)]
    assert np.isnan(analysis.correlation(np.c_[column[:, 0], np.arange(rows)])[0]).all()
    assert analysis.correlation(np.c_[column[:, 0], np.arange(rows)])[1, 1] == 1


def test_normalize_is_never_infinite_where_squares_vanish():
    tiny = np.array([0.0, 1e-200] * 20)
    assert np.isinf(_pandas_normalize(tiny[:, None].tolist(), 1)).any()
    assert np.isnan(analysis.normalize(tiny)).all()


def _exact_correlation(x, y):
    both = ~np.isnan(x) & ~np.isnan(y)
    x, y = x[both].astype(np.longdouble), y[both].astype(np.longdouble)
    x, y = x - x.mean(), y - y.mean()
    return float((x * y).sum() / np.sqrt((x * x).sum() * (y * y).sum()))


@pytest.mark.parametrize("missing", [0, 0.3])
@pytest.mark.parametrize("offset", [0, 1e6, -1e9])
def test_correlation_is_that_of_pandas_and_more_exact(missing, offset):
    data = _data((400, 6)) @ np.random.default_rng(3).normal(size=(6, 6)) + offset
    data[np.random.default_rng(2).random(data.shape) < missing] = np.nan
    got = analysis.correlation(data)
    if not offset:
        np.testing.assert_allclose(got, pd.DataFrame(data).corr().to_numpy(), rtol=1e-12)
    exact = [[_exact_correlation(data[:, i], data[:, j]) for j in range(6)] for i in range(6)]
    np.testing.assert_allclose(got, exact, rtol=1e-12)
    np.testing.assert_array_equal(got, got.T)
    assert (np.diagonal(got) == 1).all()
    assert (np.abs(got) <= 1).all()


def test_correlation_of_whole_rows_missing_and_of_infinite_values():
    data = _data((100, 4))
    data[::7] = np.nan
    expected = pd.DataFrame(data).corr().to_numpy()
    np.testing.assert_allclose(analysis.correlation(data), expected, rtol=1e-12)
    data[::7] = np.inf
    np.testing.assert_allclose(analysis.correlation(data), expected, rtol=1e-12)
    data[3, 2] = -np.inf
    data[5, 0] = np.nan
    data[6, 1] = 1e15  # a large value must not spoil pairs it has no part in
    finite = pd.DataFrame(np.where(np.isfinite(data), data, np.nan))
    np.testing.assert_allclose(analysis.correlation(data), finite.corr().to_numpy(), rtol=1e-12)


def test_correlation_of_a_pair_ignores_values_outside_the_pair():
    data = _data((200, 2))
    exact = analysis.correlation(data[:150])[0, 1]
    data[150:, 0] = 1e14
    data[150:, 1] = np.nan
    assert analysis.correlation(data)[0, 1] == pytest.approx(exact, rel=1e-13)


def test_correlation_of_a_pair_whose_common_rows_are_equal():
    data = np.c_[np.full(1000, 0.1), np.arange(1000.0), _data(1000)]
    data[:10, 0] = np.arange(10)
    data[:10, 1] = np.nan
    for order in ([0, 1, 2], [1, 0, 2]):
        got = analysis.correlation(data[:, order])
        assert np.isnan(got[0, 1])
        assert np.isfinite(got[[0, 1], [2, 2]]).all()


def test_correlation_needs_enough_rows():
    data = _data((10, 3))
    data[:6, 0] = np.nan
    for least in (1, 4, 5, 10, 11):
        expected = pd.DataFrame(data).corr(min_periods=least).to_numpy()
        np.testing.assert_allclose(analysis.correlation(data, min_periods=least), expected, rtol=1e-12)
    assert np.isnan(analysis.correlation(data[9:])).all()


@pytest.mark.parametrize("missing", [0, 0.3])
@pytest.mark.parametrize("rows", [1, 2, 5, 1000])
@pytest.mark.parametrize("ddof", [0, 1])
def test_describe_is_that_of_pandas(rows, missing, ddof):
    data = _data((rows, 4))
    data[np.random.default_rng(2).random(data.shape) < missing] = np.nan
    data[:, 3] = np.nan
    got = analysis.describe(data, ddof=ddof)
    frame = pd.DataFrame(data)
    expected = frame.describe()
    assert list(got) == list(expected.index)
    expected.loc["std"] = frame.std(ddof=ddof)
    for name, values in got.items():
        np.testing.assert_allclose(values, expected.loc[name].to_numpy(), rtol=1e-12, err_msg=name)
    assert got["count"].dtype == np.int64


def test_describe_of_infinite_values():
    got = analysis.describe([[-np.inf, 1.0], [2.0, np.inf], [3.0, np.inf], [4.0, np.inf]])
    assert got["min"].tolist() == [-np.inf, 1.0]
    assert got["max"].tolist() == [4.0, np.inf]
    assert got["mean"].tolist() == [-np.inf, np.inf]
    assert got["50%"].tolist() == [2.5, np.inf]
    assert np.isnan(got["std"]).all()


@pytest.mark.parametrize("missing", [0, 0.4])
@pytest.mark.parametrize("q", [0, 0.25, 1 / 3, 0.5, 0.999, 1])
def test_quantile_is_that_of_pandas(q, missing):
    data = _data((101, 3))
    data[np.random.default_rng(2).random(data.shape) < missing] = np.nan
    frame = pd.DataFrame(data)
    expected = frame.quantile(q).to_numpy()
    np.testing.assert_allclose(analysis.quantile(data, q), expected, rtol=1e-12)
    single = analysis.quantile(data[:, 0], q)
    assert isinstance(single, float)
    assert single == pytest.approx(expected[0], rel=1e-12)


def test_quantile_of_several_shares():
    data = _data((30, 3))
    shares = [0.9, 0.1, 0.5, 0.1]
    expected = pd.DataFrame(data).quantile(shares).to_numpy()
    np.testing.assert_allclose(analysis.quantile(data, shares), expected, rtol=1e-12)
    np.testing.assert_allclose(analysis.quantile(data[:, 1], np.array(shares)), expected[:, 1], rtol=1e-12)
    assert analysis.quantile(data, [0.5]).shape == (1, 3)
    assert analysis.quantile(data[:, 0], [0.5]).shape == (1,)


def test_quantile_between_infinite_values():
    values = [-np.inf, -np.inf, 1.0, np.inf, np.inf]
    assert analysis.quantile(values, [0, 0.1, 0.25, 0.5, 0.75, 0.9, 1]).tolist() == [
        *[-np.inf] * 3,
        1.0,
        *[np.inf] * 3,
    ]
    assert analysis.quantile([3.0, np.inf], 0.0) == 3.0
    assert np.isnan(analysis.quantile([np.nan, np.nan], 0.5))


# NIST Statistical Reference Datasets, linear regression: Norris and Longley, with their certified values.
NORRIS = """0.1 0.2 338.8 337.4 118.1 118.2 888.0 884.6 9.2 10.1 228.1 226.5 668.5 666.3 998.5 996.3 449.1 448.6
778.9 777.0 559.2 558.2 0.3 0.4 0.1 0.6 778.1 775.5 668.8 666.9 339.3 338.0 448.9 447.5 10.8 11.6
557.7 556.0 228.3 228.1 998.0 995.8 888.8 887.6 119.6 120.2 0.3 0.3 0.6 0.3 557.6 556.8 339.3 339.1
888.0 887.2 998.5 999.0 778.9 779.0 10.2 11.1 117.6 118.3 228.9 229.2 668.4 669.1 449.2 448.9 0.2
0.5"""
LONGLEY = """60323 83.0 234289 2356 1590 107608 1947 61122 88.5 259426 2325 1456 108632 1948
60171 88.2 258054 3682 1616 109773 1949 61187 89.5 284599 3351 1650 110929 1950
63221 96.2 328975 2099 3099 112075 1951 63639 98.1 346999 1932 3594 113270 1952
64989 99.0 365385 1870 3547 115094 1953 63761 100.0 363112 3578 3350 116219 1954
66019 101.2 397469 2904 3048 117388 1955 67857 104.6 419180 2822 2857 118734 1956
68169 108.4 442769 2936 2798 120445 1957 66513 110.8 444546 4681 2637 121950 1958
68655 112.6 482704 3813 2552 123366 1959 69564 114.2 502601 3931 2514 125368 1960
69331 115.7 518173 4806 2572 127852 1961 70551 116.9 554894 4007 2827 130081 1962"""


def test_regression_gives_the_certified_values_of_norris():
    y, x = np.array(NORRIS.split(), dtype=float).reshape(-1, 2).T
    fit = analysis.linear_regression(x, y)
    assert fit["n"] == 36
    assert fit["degrees_of_freedom"] == 34
    assert fit["intercept"] == pytest.approx(-0.262323073774029, rel=1e-11)
    assert fit["intercept_standard_error"] == pytest.approx(0.232818234301152, rel=1e-11)
    assert fit["coefficients"] == pytest.approx([1.00211681802045], rel=1e-13)
    assert fit["standard_errors"] == pytest.approx([0.429796848199937e-03], rel=1e-11)
    assert fit["residual_std"] == pytest.approx(0.884796396144373, rel=1e-11)
    assert fit["r_squared"] == pytest.approx(0.999993745883712, rel=1e-14)
    assert fit["t_values"] == pytest.approx(fit["coefficients"] / fit["standard_errors"])


def test_regression_gives_the_certified_values_of_longley():
    table = np.array(LONGLEY.split(), dtype=float).reshape(-1, 7)
    fit = analysis.linear_regression(table[:, 1:], table[:, 0])
    slopes = [
        15.0618722713733,
        -0.358191792925910e-01,
        -2.02022980381683,
        -1.03322686717359,
        -0.511041056535807e-01,
        1829.15146461355,
    ]
    errors = [
        84.9149257747669,
        0.334910077722432e-01,
        0.488399681651699,
        0.214274163161675,
        0.226073200069370,
        455.478499142212,
    ]
    assert fit["intercept"] == pytest.approx(-3482258.63459582, rel=1e-10)
    assert fit["intercept_standard_error"] == pytest.approx(890420.383607373, rel=1e-10)
    assert fit["coefficients"] == pytest.approx(slopes, rel=1e-9)
    assert fit["standard_errors"] == pytest.approx(errors, rel=1e-9)
    assert fit["residual_std"] == pytest.approx(304.854073561965, rel=1e-11)
    assert fit["r_squared"] == pytest.approx(0.995479004577296, rel=1e-12)


@pytest.mark.parametrize("intercept", [True, False])
def test_regression_is_least_squares(intercept):
    x = _data((300, 4)) * [1, 1e6, 1e-6, 10]
    y = x @ [1.0, 2e-6, 3e6, -4.0] + 7 + _data(300, seed=5)
    fit = analysis.linear_regression(x, y, intercept=intercept)
    design = np.c_[np.ones(300), x] if intercept else x
    beta, _, _, _ = np.linalg.lstsq(design, y, rcond=None)
    freedom = 300 - design.shape[1]
    residual = y - design @ beta
    variance = residual @ residual / freedom
    errors = np.sqrt(np.diagonal(np.linalg.inv(design.T @ design)) * variance)
    got = np.r_[fit["intercept"], fit["coefficients"]][0 if intercept else 1 :]
    got_errors = np.r_[fit["intercept_standard_error"], fit["standard_errors"]][0 if intercept else 1 :]
    total = ((y - y.mean()) ** 2).sum() if intercept else y @ y
    np.testing.assert_allclose(got, beta, rtol=1e-8)
    np.testing.assert_allclose(got_errors, errors, rtol=1e-6)
    assert fit["residual_std"] == pytest.approx(np.sqrt(variance), rel=1e-10)
    assert fit["r_squared"] == pytest.approx(1 - residual @ residual / total, rel=1e-10)
    assert fit["degrees_of_freedom"] == freedom
    if not intercept:
        assert fit["intercept"] == 0
        assert np.isnan([fit["intercept_standard_error"], fit["intercept_t_value"]]).all()


def test_regression_drops_and_counts_rows_with_nan():
    x, y = _data((50, 2)), _data(50, seed=4)
    whole = analysis.linear_regression(x, y)
    holes_x, holes_y = np.insert(x, [10, 20, 30], np.nan, axis=0), np.insert(y, [10, 20, 30], 5.0)
    holes_x[10] = 1.0
    holes_y[10] = np.nan
    fit = analysis.linear_regression(holes_x, holes_y)
    assert (fit["n"], fit["dropped"], whole["dropped"]) == (50, 3, 0)
    for name in ("coefficients", "intercept", "standard_errors", "r_squared"):
        np.testing.assert_allclose(fit[name], whole[name], rtol=1e-12)


def test_regression_without_freedom_or_variation():
    exact = analysis.linear_regression([1.0, 2.0], [3.0, 5.0])
    assert exact["coefficients"] == pytest.approx([2.0])
    assert exact["intercept"] == pytest.approx(1.0)
    assert exact["degrees_of_freedom"] == 0
    assert np.isnan([exact["residual_std"], *exact["standard_errors"], exact["intercept_standard_error"]]).all()
    through_zero = analysis.linear_regression(np.diag([2.0, 4.0]), [2.0, 2.0], intercept=False)
    assert through_zero["coefficients"] == pytest.approx([1.0, 0.5])
    flat = analysis.linear_regression([1.0, 2.0, 4.0], [0.1, 0.1, 0.1])
    assert flat["coefficients"].tolist() == [0.0]
    assert flat["intercept"] == pytest.approx(0.1)
    assert np.isnan(flat["r_squared"])
