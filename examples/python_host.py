"""A host that is itself Python: ctypes loads libkrait, krait attaches to the Python that runs already.

Threads of this program call one of its own functions through C, so a C library that uses krait works below Python too.

usage: python3 python_host.py [libkrait.so]
"""

import ctypes as c
import sys
import threading

import numpy as np

KIND_ARRAY, DTYPE_F64, C_CONTIGUOUS = 8, 12, 2


def struct(name: str, *fields: tuple[str, type]) -> type[c.Structure]:
    return type(name, (c.Structure,), {"_fields_": list(fields)})


# krait_dtype, krait_value (with an array as its payload, 128 bytes in all) and krait_arg, as the headers have them.
Byte, Word, Pointer, Six = c.c_uint8, c.c_uint32, c.c_void_p, c.c_int64 * 6
Dtype = struct("Dtype", ("code", Byte), ("rest", Byte * 3), ("item_size", Word), ("count", c.c_int64))
Head = struct("Head", ("kind", Byte), ("rest", Byte * 7), ("release", Pointer), ("owner", Pointer), ("data", Pointer))
Form = struct("Form", ("ndim", c.c_int32), ("flags", Word), ("shape", Pointer), ("strides", Pointer), ("dims", Six))
Value = struct("Value", ("head", Head), ("dtype", Dtype), ("form", Form), ("rest", c.c_uint64))
Arg = struct("Arg", ("name", c.c_char_p), ("flags", Word), ("reserved", Word), ("value", Value))


def vector(numbers: c.Array) -> Value:
    """krait_vector_f64 of the header: describes the memory, copies nothing."""
    form = Form(ndim=1, flags=C_CONTIGUOUS, dims=Six(len(numbers), 0, 0, c.sizeof(c.c_double)))
    head = Head(kind=KIND_ARRAY, data=c.addressof(numbers))
    return Value(head, Dtype(code=DTYPE_F64, item_size=c.sizeof(c.c_double)), form)


def length(numbers: np.ndarray) -> float:
    """What C calls: by then the numbers are a numpy array over the caller's memory."""
    return float(np.sqrt(np.sum(numbers * numbers)))


def call(krait: c.CDLL, func: Pointer, numbers: c.Array, answers: list[str]) -> None:
    out, err, answer = Value(), Pointer(), c.c_double()
    args = Arg(value=vector(numbers))
    krait.krait_call(func, c.byref(args), c.c_size_t(1), None, c.byref(out), c.byref(err))
    krait.krait_get_f64(c.byref(out), c.byref(answer), c.byref(err))
    krait.krait_value_clear(c.byref(out))
    text = krait.krait_error_message(err).decode() if err else f"{answer.value:4g}"
    answers.append(f"length of ({numbers[0]:2g}, {numbers[1]:2g}): {text}")
    krait.krait_error_clear(c.byref(err))


def main() -> None:
    krait = c.CDLL(sys.argv[1] if len(sys.argv) > 1 else "build/libkrait.so")
    krait.krait_func_new.restype, krait.krait_error_message.restype = Pointer, c.c_char_p
    err, answers = Pointer(), []
    krait.krait_init(None, c.byref(err))
    func = Pointer(krait.krait_func_new(b"__main__:length", c.byref(err)))
    if err:
        sys.exit(krait.krait_error_message(err).decode())
    inputs = [(c.c_double * 2)(3 * n, 4 * n) for n in range(1, 5)]
    threads = [threading.Thread(target=call, args=(krait, func, numbers, answers)) for numbers in inputs]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    krait.krait_func_unref(func)
    print("\n".join(sorted(answers)))


if __name__ == "__main__":
    assert c.sizeof(Value) == 128
    main()
