"""Makes the package of bridge/python importable without installing it, and pandas a fair oracle."""

import sys
from pathlib import Path

import pandas as pd

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "bridge" / "python"))

# Debian's pandas sums with bottleneck where it is installed: less exactly, so neither pandas' nor krait's bits.
pd.set_option("compute.use_bottleneck", False)
