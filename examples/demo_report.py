"""The picture of examples/demo.c, drawn with matplotlib's Figure and Agg alone: no pyplot, no window, no global state.

Colours are Okabe and Ito's, cividis and one blue ramp: the colour-blind see the same, and so does a grey printer.
"""

from typing import Any

import numpy as np
from matplotlib import cm, colors, dates
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

RISE, FALL, INK, PALE = "#0072b2", "#d55e00", "#333333", "#cccccc"
HEADING = {"loc": "left", "color": INK, "fontsize": 13}


def draw(path: str, data: dict[str, Any], anomalies: dict[str, Any], correlation: np.ndarray, threshold: float) -> str:
    """Price and its anomalies, elevations, correlations. Returns what was written."""
    figure = Figure(figsize=(15, 13), dpi=110)
    # Places given outright, since versions of matplotlib lay out a fixed aspect differently.
    top = figure.add_gridspec(2, 1, left=0.06, right=0.98, top=0.92, bottom=0.57, height_ratios=(2, 1), hspace=0.06)
    low = figure.add_gridspec(1, 2, left=0.06, right=0.98, top=0.5, bottom=0.06, width_ratios=(1.02, 1), wspace=0.39)
    figure.text(0.06, 0.962, "krait: drawn by matplotlib, computed by numpy, called from C", fontsize=19, color=INK)
    price = figure.add_subplot(top[0])
    _draw_price(price, figure.add_subplot(top[1], sharex=price), data["google"], anomalies, threshold)
    _draw_map(figure.add_subplot(low[0]), data["elevation"], data["edges"])
    _draw_heat(figure.add_subplot(low[1]), data["names"], correlation)
    FigureCanvasAgg(figure).print_png(path)
    return "{:.0f} x {:.0f} pixels".format(*(figure.get_size_inches() * figure.dpi))


def _draw_price(price: Axes, score: Axes, google: np.ndarray, anomalies: dict[str, Any], threshold: float) -> None:
    days, z = google["date"][1:], anomalies["z"]  # a return belongs to the later of its two days
    price.plot(google["date"], google["close"], color=INK, linewidth=1.2)
    score.vlines(days, 0, np.nan_to_num(z), color=PALE, linewidth=1)
    for at in anomalies["indices"]:
        rises = z[at] > 0
        style = {"color": RISE if rises else FALL, "marker": "^" if rises else "v", "markersize": 11}
        price.plot(days[at], google["close"][at + 1], markeredgecolor="white", zorder=3, **style)
        score.vlines(days[at], 0, z[at], color=style["color"], linewidth=2)
        place = {"ha": "center", "va": "bottom" if rises else "top", "color": style["color"]}
        score.text(days[at], z[at] + (0.3 if rises else -0.4), f"{z[at]:+.1f}", **place)
    score.hlines((-threshold, threshold), days[0], days[-1], color=INK, linewidth=0.8, linestyle="--")
    price.set_title(f"Google: days whose return is over {threshold:g} sigma from the mean before", **HEADING)
    price.set(ylabel="close, US dollars", xlim=(days[0], days[-1] + np.timedelta64(25, "D")), ylim=(0, None))
    score.set(ylabel="return, sigma", ylim=(-9, 11))
    price.tick_params(labelbottom=False)
    score.xaxis.set_major_locator(dates.MonthLocator(bymonth=(1, 4, 7, 10)))
    score.xaxis.set_major_formatter(dates.DateFormatter("%b %Y"))
    for axes in (price, score):
        axes.grid(color=PALE, linewidth=0.5, alpha=0.6)
        axes.spines[["top", "right"]].set_visible(False)


def _draw_map(axes: Axes, elevation: np.ndarray, edges: np.ndarray) -> None:
    _, _, south, north = edges
    narrow = np.cos(np.radians((north + south) / 2))  # a degree of longitude against one of latitude
    metres = 111_195 * (north - south) / len(elevation)
    scale = colors.Normalize(elevation.min(), elevation.max())
    light = {"blend_mode": "soft", "vert_exag": 2, "dx": metres * narrow, "dy": metres}
    relief = colors.LightSource(azdeg=315, altdeg=45).shade(elevation, cm.cividis, norm=scale, **light)
    axes.imshow(relief, extent=edges, aspect=1 / narrow)
    paint = cm.ScalarMappable(scale, cm.cividis)
    axes.figure.colorbar(paint, ax=axes, fraction=0.046, pad=0.03).set_label("elevation, metres")
    axes.set_title(f"Jacksboro fault, Tennessee: {elevation.size:,} elevations", **HEADING)
    axes.set_xticks([-84.4, -84.3, -84.2, -84.1], ["84.4° W", "84.3° W", "84.2° W", "84.1° W"])
    axes.set_yticks([36.5, 36.6, 36.7], ["36.5° N", "36.6° N", "36.7° N"])


def _draw_heat(axes: Axes, names: list[str], correlation: np.ndarray) -> None:
    axes.imshow(correlation, cmap="Blues", vmin=min(0.0, np.nanmin(correlation)), vmax=1)
    axes.set_xticks(range(len(names)), names, rotation=45, ha="right", rotation_mode="anchor")
    axes.set_yticks(range(len(names)), names)
    for (row, column), value in np.ndenumerate(correlation):
        axes.text(column, row, f"{value:.2f}", ha="center", va="center", color="white" if value > 0.6 else INK)
    axes.set_title("Correlation of monthly returns, 1990 to 2022", **HEADING)
    axes.spines[:].set_visible(False)
    axes.tick_params(length=0)
