"""Records as libkrait describes C structs, and capsules of DLPack tensors.

Private to libkrait.
"""

import json
from typing import Any


def _record(recipe: Any) -> Any:
    """The dtype of a parsed recipe: a type string, [format, shape] of a field that is an array, or a record."""
    import numpy

    if isinstance(recipe, str):
        return numpy.dtype(recipe)
    if isinstance(recipe, list):
        base, shape = recipe
        return numpy.dtype((_record(base), tuple(shape)))
    formats = [_record(one) for one in recipe["formats"]]
    return numpy.dtype({**recipe, "formats": formats})


def record_type(recipe: str) -> Any:
    """The structured dtype that lib/structs.c described."""
    return _record(json.loads(recipe))


def copy_records(records: Any) -> Any:
    """A C-contiguous copy, padding included: numpy copies field by field and leaves undefined what lies between."""
    import numpy

    plain = numpy.asarray(records)
    if plain.dtype.hasobject:
        return plain.copy("C")
    return plain.view(f"V{plain.dtype.itemsize}").copy("C").view(plain.dtype)


def capsule_of(tensor: Any) -> tuple[int, int, Any]:
    """Type and number of the device that a tensor lies on, and its capsule where that is the CPU."""
    kind, number = tensor.__dlpack_device__()
    if int(kind) != 1:
        return int(kind), int(number), None
    try:
        capsule = tensor.__dlpack__(max_version=(1, 0))
    except TypeError:  # producers from before DLPack 1.0
        capsule = tensor.__dlpack__()
    return int(kind), int(number), capsule
