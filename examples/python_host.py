"""A host that is itself Python: ctypes loads libkrait, krait attaches to the Python that runs already, and threads of
this program call one of its own functions through C. So a C library that uses krait also works below Python.

usage: python3 python_host.py [libkrait.so]
"""

import ctypes as c
import sys
import threading

import numpy as np

KIND_ARRAY, DTYPE_F64, C_CONTIGUOUS = 8, 12, 2


def struct(name: str, **fields: type) -> type[c.Structure]:
    return type(name, (c.Structure,), {"_fields_": list(fields.items())})


# As in krait/value.h and krait/call.h. A krait_value has 128 bytes; of its payload only arrays and numbers are used here.
Dtype = struct("Dtype", code=c.c_uint8, swapped=c.c_uint8, unit=c.c_uint16, item_size=c.c_uint32, count=c.c_int64)
Shape = c.c_int64 * 6
Array = struct(
    "Array", data=c.c_void_p, dtype=Dtype, ndim=c.c_int32, flags=c.c_uint32, shape=c.c_void_p, strides=c.c_void_p, dims=Shape
)
Value = struct("Value", kind=c.c_uint8, flags=c.c_uint8, rest=c.c_uint8 * 6, release=c.c_void_p, owner=c.c_void_p, array=Array, more=c.c_uint64)
Arg = struct("Arg", name=c.c_char_p, flags=c.c_uint32, reserved=c.c_uint32, value=Value)


def vector(numbers: c.Array) -> Value:
    """krait_vector_f64 of the header."""
    dtype = Dtype(code=DTYPE_F64, item_size=8)
    dims = Shape(len(numbers), 0, 0, 8)
    array = Array(data=c.addressof(numbers), dtype=dtype, ndim=1, flags=C_CONTIGUOUS, dims=dims)
    return Value(kind=KIND_ARRAY, array=array)
