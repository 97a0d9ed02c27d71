"""What is shorter in Python for examples/demo.c: reading matplotlib's sample files, timing a function without krait.

Refuses to guess: a missing package or file is an error that names what brings it.
"""

import sys
from importlib import import_module
from pathlib import Path
from time import perf_counter
from typing import Any

try:
    import matplotlib
    import numpy as np
    import pandas as pd
    from matplotlib import cbook
except ImportError as error:
    cure = "run `make setup`, or pip install pandas matplotlib, or apt-get install python3-pandas python3-matplotlib"
    raise ImportError(f"{error}; the demo needs numpy, pandas and matplotlib: {cure}") from error


def load() -> dict[str, Any]:
    """The three data sets as they come: records, a table with empty rows, a grid of whole numbers."""
    stocks = pd.read_csv(_sample("Stocks.csv"), comment="#", index_col="Date", parse_dates=True)
    fault = np.load(_sample("jacksboro_fault_dem.npz"))
    return {
        "google": np.load(_sample("goog.npz"))["price_data"],
        "names": [{"^GSPC": "S&P 500", "^IXIC": "Nasdaq"}.get(name, name) for name in stocks.columns],
        "dates": stocks.index.to_numpy(),
        "prices": np.ascontiguousarray(stocks.to_numpy()),
        "elevation": fault["elevation"],
        "edges": np.array([fault[edge] for edge in ("xmin", "xmax", "ymax", "ymin")]),  # its ymin is the north
    }


def versions() -> str:
    """Python and the packages that do the work."""
    packages = ", ".join(f"{package.__name__} {package.__version__}" for package in (np, pd, matplotlib))
    return f"Python {sys.version.split()[0]}, {packages}"


def times(name: str, repeat: int, *args: Any, **kwargs: Any) -> np.ndarray:
    """Seconds of each of `repeat` calls of "module:function" by Python."""
    module, _, function = name.partition(":")
    call = getattr(import_module(module), function)
    marks = np.empty(repeat + 1)
    marks[0] = perf_counter()
    for i in range(repeat):
        call(*args, **kwargs)
        marks[i + 1] = perf_counter()
    return np.diff(marks)


def _sample(name: str) -> str:
    path = Path(cbook.get_sample_data(name, asfileobj=False))
    if not path.is_file():
        cure = "pip's matplotlib brings it, on Debian the package python-matplotlib-data"
        raise FileNotFoundError(f"{path} is missing: {cure}")
    return str(path)
