"""krait: numpy and pandas analysis that a C program can call, and that a Python team can import and test.

Importing this package costs nothing: numpy is loaded by `krait.analysis`, pandas only by the data handed to it.
"""
