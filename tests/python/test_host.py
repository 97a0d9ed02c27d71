"""krait.host and krait.Error as a Python team sees them, outside a host process."""

import asyncio
import copy
import pickle
import sys
import threading
import traceback
import types

import pytest

import krait
from krait import host


@pytest.fixture(autouse=True)
def no_fake_is_left():
    yield
    assert dir(host) == ["fake", "unfake"]


def test_calling_what_is_not_there_says_what_makes_it():
    with pytest.raises(krait.Error) as caught:
        host.prices.last("ACME")
    assert str(caught.value) == (
        "no host function 'prices.last': this process is no krait host; krait.host.fake(\"prices.last\", fn) makes one"
    )
    assert caught.value.status == "KRAIT_E_NOT_FOUND"
    with pytest.raises(krait.Error, match="no host function 'prices'"):
        host.prices()
    assert "prices.last" in repr(host.prices.last)


def test_names_that_python_itself_asks_for_are_not_there():
    for name in ("__path__", "__wrapped__", "_private", "__iter__"):
        assert not hasattr(host, name)
        assert not hasattr(host.prices, name)
    with pytest.raises(krait.Error, match=r"no host function 'prices\.last'"):
        copy.deepcopy(host.prices).last()


def test_a_fake_is_the_function_itself():
    seen = []

    def last(*args, **kwargs):
        seen.append((args, kwargs))
        return seen

    host.fake("prices.last", last)
    assert host.prices.last is last
    assert host.prices.last("ACME", day=1) is seen
    assert seen == [(("ACME",), {"day": 1})]
    assert dir(host) == ["fake", "prices", "unfake"]
    assert dir(host.prices) == ["last"]
    host.unfake("prices.last")
    with pytest.raises(krait.Error):
        host.prices.last("ACME")


def test_a_fake_ends_with_its_block():
    with host.fake("prices.last", lambda symbol: 1.5):
        assert host.prices.last("ACME") == 1.5
    with pytest.raises(krait.Error):
        host.prices.last("ACME")
    with pytest.raises(ZeroDivisionError), host.fake("prices.last", lambda: 1 / 0):
        host.prices.last()


def test_of_several_fakes_the_latest_counts():
    first = host.fake("f", lambda: 1)
    with host.fake("f", lambda: 2), host.fake("f", lambda: 3):
        assert host.f() == 3
        host.unfake("f")
        assert host.f() == 2
    assert host.f() == 1
    with first:
        pass
    with pytest.raises(krait.Error, match="no fake 'f'; there is none"):
        host.unfake("f")


def test_what_was_imported_before_sees_the_fakes_of_each_test():
    from krait.host import prices

    last = prices.last
    for price in (1, 2):
        with host.fake("prices.last", lambda price=price: price):
            from krait.host import prices as group

            assert prices.last() == last() == host.prices.last() == group.last() == price
    for price in (3, 4):
        with host.fake("prices.last", lambda price=price: price):
            assert group.last() == price
    with pytest.raises(krait.Error):
        group.last()


def test_siblings_stay():
    with host.fake("prices.last", lambda: 1), host.fake("prices.book.top", lambda: 2):
        with host.fake("prices.first", lambda: 3):
            assert (host.prices.last(), host.prices.book.top(), host.prices.first()) == (1, 2, 3)
        assert (host.prices.last(), host.prices.book.top()) == (1, 2)
        assert dir(host.prices) == ["book", "last"]
        assert repr(host.prices.book) == "<host functions prices.book.*>"


BAD_NAMES = ["", ".", "a.", ".a", "a..b", "a b", "1a", "_a", "a._b", "__init__", "class", "a.None", "größe"]
BAD_NAMES += ["fake", "unfake.x"]


@pytest.mark.parametrize("name", BAD_NAMES)
def test_names_are_checked(name):
    with pytest.raises(krait.Error) as caught:
        host.fake(name, len)
    assert caught.value.status == "KRAIT_E_ARGUMENT"
    assert repr(name) in str(caught.value)


def test_a_name_is_a_group_or_a_function():
    with host.fake("a.b", len):
        for other in ("a", "a.b.c"):
            with pytest.raises(krait.Error, match="a group and a function"):
                host.fake(other, len)
    with pytest.raises(krait.Error, match="is a int, expected a function"):
        host.fake("a", 1)


def test_fakes_are_seen_by_all_threads_and_tasks():
    async def ask():
        await asyncio.sleep(0)
        return host.f()

    with host.fake("f", lambda: 5):
        got = []
        thread = threading.Thread(target=lambda: got.append(host.f()))
        thread.start()
        thread.join()
        assert got == [5]
        assert asyncio.run(ask()) == 5


def test_an_error():
    error = krait.Error("no such book", "KRAIT_E_NOT_FOUND")
    assert str(error) == error.message == "no such book"
    assert error.status == "KRAIT_E_NOT_FOUND"
    assert (error.step, error.python_type, error.traceback, error.cause) == ("", None, None, None)
    assert krait.Error("x").status == "KRAIT_E_PYTHON"


class Mine(krait.Error):
    def __init__(self, symbol):
        super().__init__(f"no price of {symbol}", "KRAIT_E_NOT_FOUND")
        self.args = (symbol,)
        self.symbol = symbol

    def __str__(self):
        return self.message


@pytest.mark.parametrize("again", [copy.copy, copy.deepcopy, lambda e: pickle.loads(pickle.dumps(e))])
def test_copies_of_an_error(again):
    cause = krait.Error("under", "KRAIT_E_RANGE", step="call", python_type="ValueError", traceback="Traceback ...")
    error = krait.Error("over", "KRAIT_E_SHAPE", step="host function f", cause=cause)
    error.add_note("a note")
    error._native = object()  # cannot be pickled, as the real one
    other = again(error)
    assert type(other) is krait.Error
    assert other is not error
    assert (str(other), other.status, other.step) == ("over", "KRAIT_E_SHAPE", "host function f")
    assert other.__notes__ == ["a note"]
    under = other.cause
    assert (under.message, under.status, under.python_type) == ("under", "KRAIT_E_RANGE", "ValueError")
    assert other._native is None
    mine = again(Mine("ACME"))
    assert (type(mine), str(mine), mine.symbol, mine.status) == (Mine, "no price of ACME", "ACME", "KRAIT_E_NOT_FOUND")


# What libkrait gets of an exception (krait._bridge.describe).

LIMITS = (65536, 262144, 128, 64, 16)


def described(error, limits=LIMITS):
    from krait import _bridge

    try:
        raise error
    except BaseException as raised:
        return _bridge.describe(raised, *limits)


def test_an_error_of_python_code_is_described_with_its_status():
    kind, message, text, frames, notes, cause, own = described(krait.Error("x", "KRAIT_E_RANGE"))
    assert (kind, message, notes, cause, own) == ("krait.Error", "x", (), None, ("KRAIT_E_RANGE", None))
    assert "krait.Error: x" in text
    assert frames[-1][2] == "described"
    assert described(ValueError("x"))[6] is None


def test_an_error_from_c_is_described_by_what_it_was_made_of():
    native = object()
    error = krait.Error("x", "KRAIT_E_RANGE")
    error._native = native
    error.__cause__ = KeyError("not told: its own causes are in there")
    assert described(error)[5:] == (None, native)
    outer = ValueError("y")
    outer.__cause__ = error
    assert described(outer)[5][6] is native


def test_an_error_of_the_bridge_alone_has_nothing_of_python():
    from krait import _bridge

    def fail():
        raise Error("x", "KRAIT_E_SHAPE")  # noqa: F821

    with pytest.raises(krait.Error) as caught:
        types.FunctionType(fail.__code__, {"__name__": "krait._something", "Error": krait.Error})()
    error = caught.value
    error.__traceback__ = error.__traceback__.tb_next  # libkrait calls it, no Python code
    assert _bridge.describe(error, *LIMITS) == (None, "x", None, (), (), None, ("KRAIT_E_SHAPE", None))


def test_a_copy_from_another_process_keeps_its_traceback():
    cause = krait.Error("under", "KRAIT_E_RANGE", traceback="its text", python_type="KeyError")
    error = krait.Error("over", traceback="Traceback of old", python_type="ValueError", step="call", cause=cause)
    kind, _, text, _, _, under, own = described(error)
    assert (kind, text, own) == ("ValueError", "Traceback of old", ("KRAIT_E_PYTHON", "call"))
    assert (under[0], under[1], under[6]) == ("KeyError", "under", ("KRAIT_E_RANGE", None))


def test_making_an_error_of_a_chain():
    from krait import _bridge

    native = object()
    over = ("KRAIT_E_SHAPE", "over", "call", None, None, "a note")
    error = _bridge.make_error((over, ("KRAIT_E_PYTHON", "under", "", "KeyError", "text")), native)
    assert (error.status, str(error), error.step, error.__notes__) == ("KRAIT_E_SHAPE", "over", "call", ["a note"])
    assert error._native is native
    assert (error.cause.python_type, error.cause.traceback, error.cause.cause) == ("KeyError", "text", None)
    assert error.cause._native is None
    assert "a note" in "".join(traceback.format_exception(error))


def test_in_a_host_names_come_from_it(monkeypatch):
    functions = {"prices.last": lambda: "real", "orders.send": lambda: "sent"}
    fake_host = types.SimpleNamespace(find=functions.get, names=lambda: "\n".join(sorted(functions)))
    with monkeypatch.context() as patch:
        patch.setitem(sys.modules, "_krait_host", fake_host)
        assert dir(host) == ["fake", "orders", "prices", "unfake"]
        assert host.prices.last() == "real"
        with pytest.raises(AttributeError, match=r"'prices\.lst'; registered are orders\.send, prices\.last"):
            host.prices.lst()
        with host.fake("prices.last", lambda: "fake"):
            assert host.prices.last() == "fake"
        assert host.prices.last() == "real"
        with pytest.raises(krait.Error, match=r"'prices\.last' is a host function"):
            host.fake("prices", len)
        del functions["prices.last"]
        host._forget("prices.last")
        assert not hasattr(host, "prices")
        assert host.orders.send() == "sent"
        functions.update({f"m.f{i}": len for i in range(30)})
        with pytest.raises(AttributeError, match="and 11 more"):
            host.nothing()
        functions.clear()
        for name in ("orders.send", *(f"m.f{i}" for i in range(30))):
            host._forget(name)
        with pytest.raises(AttributeError, match="none is registered"):
            host.orders()
