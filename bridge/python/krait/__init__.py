"""krait: numpy and pandas analysis that a C program can call, and that a Python team can import and test.

Importing this package costs nothing: numpy is loaded by `krait.analysis`, pandas only by the data handed to it.
"""


class Error(Exception):
    """A failure that has a status: of krait, of a host function, or raised by Python code.

    Functions of `krait.host` raise it. One that passes through Python code reaches the C program unchanged; one that
    Python code raises (`raise krait.Error("no such book", "KRAIT_E_NOT_FOUND")`) reaches it with that status. A name
    that is no failure's counts as KRAIT_E_PYTHON.
    """

    _native: object = None  # the krait_error that it was made of, in the process where that happened
    # Also of a subclass that does not call this class's __init__.
    message, status, step = "", "KRAIT_E_PYTHON", ""
    python_type: str | None = None
    traceback: str | None = None
    cause: "Error | None" = None

    def __init__(
        self,
        message: str = "",
        status: str = "KRAIT_E_PYTHON",
        *,
        step: str = "",
        python_type: str | None = None,
        traceback: str | None = None,
        cause: "Error | None" = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.status = status
        self.step = step  # what failed: "call", "convert argument 2", "host function prices.last"; "" when not known
        self.python_type = python_type  # of an exception that Python code raised on the other side of C, else None
        self.traceback = traceback  # its text
        self.cause = cause

    def __reduce__(self) -> tuple[object, ...]:
        return type(self), self.args, {name: value for name, value in vars(self).items() if name != "_native"}
