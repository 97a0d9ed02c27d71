/* Results of other array libraries, through DLPack: numpy's own tensors behind a class of another name, and tensors made
 * with ctypes, of every version, flag and fault. */
#include "check.h"

#include <pthread.h>
#include <stdbool.h>

static const char module[] =
    "import ctypes, numpy\n"
    "class Tensor:\n" /* what torch and others look like */
    "    def __init__(self, array, device=(1, 0), modern=True):\n"
    "        self.array, self.device, self.modern, self.asked = array, device, modern, 0\n"
    "    def __dlpack_device__(self): return self.device\n"
    "    def __dlpack__(self, **wants):\n"
    "        self.asked += 1\n"
    "        if wants and not self.modern: raise TypeError('__dlpack__() takes no keyword arguments')\n"
    "        return self.array.__dlpack__(**wants)\n"
    "def tensor(text): return Tensor(eval(text))\n"
    "def old(text): return Tensor(eval(text), modern=False)\n"
    "cuda = Tensor(numpy.zeros(3), (2, 1))\n"
    "def on_cuda(): return cuda\n"
    "def asked(): return cuda.asked\n"
    "def on(kind): return Tensor(numpy.zeros(3), (kind, 0))\n"
    "def address(): return kept.__array_interface__['data'][0]\n"
    "kept = numpy.arange(12.0)\n"
    "def around(a): return Tensor(a)\n"
    "def flags(a): return a.flags.writeable, str(a.dtype), a.shape\n"
    "class Odd:\n"
    "    def __init__(self, answer): self.answer = answer\n"
    "    def __dlpack_device__(self): return (1, 0)\n"
    "    def __dlpack__(self, **wants): return self.answer() if callable(self.answer) else self.answer\n"
    "def broken(): raise BufferError('this tensor needs its gradient')\n"
    "USED = b'used_dltensor'\n" /* a capsule does not keep its name */
    "def odd(text): return Odd(eval(text))\n"
    /* The structs of the specification. */
    "class DLTensor(ctypes.Structure):\n"
    "    _fields_ = [('data', ctypes.c_void_p), ('device', ctypes.c_int32), ('number', ctypes.c_int32),\n"
    "                ('ndim', ctypes.c_int32), ('code', ctypes.c_uint8), ('bits', ctypes.c_uint8),\n"
    "                ('lanes', ctypes.c_uint16), ('shape', ctypes.POINTER(ctypes.c_int64)),\n"
    "                ('strides', ctypes.POINTER(ctypes.c_int64)), ('byte_offset', ctypes.c_uint64)]\n"
    "Deleter = ctypes.CFUNCTYPE(None, ctypes.c_void_p)\n"
    "class Plain(ctypes.Structure):\n"
    "    _fields_ = [('tensor', DLTensor), ('manager', ctypes.c_void_p), ('deleter', Deleter)]\n"
    "class Versioned(ctypes.Structure):\n"
    "    _fields_ = [('major', ctypes.c_uint32), ('minor', ctypes.c_uint32), ('manager', ctypes.c_void_p),\n"
    "                ('deleter', Deleter), ('flags', ctypes.c_uint64), ('tensor', DLTensor)]\n"
    "new = ctypes.pythonapi.PyCapsule_New\n"
    "new.restype, new.argtypes = ctypes.py_object, [ctypes.c_void_p, ctypes.c_char_p, ctypes.c_void_p]\n"
    "name_of = ctypes.pythonapi.PyCapsule_GetName\n"
    "name_of.restype, name_of.argtypes = ctypes.c_char_p, [ctypes.py_object]\n"
    "memory = (ctypes.c_uint8 * 64)(*range(64))\n"
    "deleted, alive, capsules = [], {}, []\n"
    "NAMES = {Plain: b'dltensor', Versioned: b'dltensor_versioned'}\n"
    "@Deleter\n"
    "def delete(at):\n"
    "    deleted.append(at)\n"
    "    alive.pop(at)\n"
    "def made(kind, code=1, bits=8, shape=(4,), strides=None, major=1, flags=0, offset=0, **more):\n"
    "    one = kind()\n"
    "    if kind is Versioned: one.major, one.flags = major, flags\n"
    "    one.deleter = delete\n"
    "    t = one.tensor\n"
    "    t.data, t.device, t.ndim = ctypes.addressof(memory), 1, len(shape)\n"
    "    t.code, t.bits, t.lanes, t.byte_offset = code, bits, 1, offset\n"
    "    lengths = (ctypes.c_int64 * len(shape))(*shape)\n"
    "    t.shape = lengths\n"
    "    steps = (ctypes.c_int64 * len(shape))(*strides) if strides else None\n"
    "    if steps: t.strides = steps\n"
    "    for name, value in more.items(): setattr(t, name, value)\n"
    "    alive[ctypes.addressof(one)] = (one, lengths, steps)\n"
    "    capsules.append(new(ctypes.addressof(one), NAMES[kind], None))\n"
    "    return Odd(capsules[-1])\n"
    "def make(text):\n"
    "    del deleted[:], capsules[:]\n"
    "    alive.clear()\n"
    "    return eval(f'made({text})')\n"
    "def ends(): return len(deleted), len(alive), name_of(capsules[0]).decode()\n";

static int64_t answer(const char *name) {
    krait_error *err = NULL;
    krait_value  out;
    int64_t      n;
    call(name, NULL, 0, &out, &err);
    krait_get_i64(&out, &n, &err);
    assert_good(err);
    krait_value_clear(&out);
    return n;
}

/* Deleters called, tensors that live, name of the capsule: of the last one made. */
static void assert_ends(int64_t deleted, int64_t alive, const char *name) {
    krait_error *err = NULL;
    krait_value  out;
    call("tensors:ends", NULL, 0, &out, &err);
    assert_good(err);
    assert_int_equal(out.as.list.items[0].as.i64, deleted);
    assert_int_equal(out.as.list.items[1].as.i64, alive);
    assert_string_equal(out.as.list.items[2].as.bytes.data, name);
    krait_value_clear(&out);
}

/* ---- numpy's tensors --------------------------------------------------------------------------------------------- */

static void tensors_are_arrays(void **state) {
    static const char *const makers[] = { "tensors:tensor", "tensors:old" };
    krait_metrics            before = at_rest();
    (void)state;
    for (size_t i = 0; i < COUNT(makers); i++) {
        krait_error *err = NULL;
        krait_value  out, back;
        krait_array  array;
        call1(makers[i], krait_str("kept"), 0, &out, &err);
        krait_get_array(&out, KRAIT_F64, 1, &array, &err);
        assert_good(err);
        assert_int_equal(array.size, 12);
        assert_int_equal((intptr_t)array.data, answer("tensors:address")); /* no copy */
        assert_false(array.flags & KRAIT_ARRAY_COPIED);
        assert_true(((double *)array.data)[11] == 11);
        call1("tensors:flags", krait_borrow(&out), 0, &back, &err);
        assert_good(err);
        assert_string_equal(back.as.list.items[1].as.bytes.data, "float64");
        krait_value_clear(&back);
        krait_value_clear(&out);
    }
    assert_nothing_left(&before);
}

static void tensors_of_every_dtype(void **state) {
    static const struct {
        const char *name;
        int         code;
    } rows[] = {
        { "int8", KRAIT_I8 },       { "int16", KRAIT_I16 },   { "int32", KRAIT_I32 },      { "int64", KRAIT_I64 },
        { "uint8", KRAIT_U8 },      { "uint16", KRAIT_U16 },  { "uint32", KRAIT_U32 },     { "uint64", KRAIT_U64 },
        { "float16", KRAIT_F16 },   { "float32", KRAIT_F32 }, { "complex64", KRAIT_C64 },  { "complex128", KRAIT_C128 },
        { "float64", KRAIT_F64 },
    };
    (void)state;
    for (size_t i = 0; i < COUNT(rows); i++) {
        krait_error *err = NULL;
        krait_value  out, plain;
        krait_array  array, expected;
        char         text[80];
        snprintf(text, sizeof text, "numpy.arange(24).astype('%s').reshape(2, 3, 4)", rows[i].name);
        call1("tensors:tensor", krait_str(text), 0, &out, &err);
        krait_get_array(&out, rows[i].code, 3, &array, &err);
        snprintf(text, sizeof text, "numpy.arange(24).astype('%s')", rows[i].name);
        call1("tensors:tensor", krait_str(text), 0, &plain, &err);
        krait_get_array(&plain, rows[i].code, 1, &expected, &err);
        assert_good(err);
        assert_memory_equal(array.data, expected.data, (size_t)array.size * array.dtype.item_size);
        krait_value_clear(&out);
        krait_value_clear(&plain);
    }
}

static void strided_tensors(void **state) {
    krait_error       *err = NULL;
    krait_func        *func = krait_func_new("tensors:tensor", &err);
    krait_arg          arg = krait_pos(krait_str("numpy.arange(12, dtype='i4').reshape(3, 4)[::-1, 1::2]"));
    krait_call_options keep = KRAIT_CALL_OPTIONS_INIT;
    krait_value        out;
    krait_array        array;
    (void)state;
    keep.flags = KRAIT_KEEP_STRIDES;
    krait_call(func, &arg, 1, NULL, &out, &err);
    krait_get_array(&out, KRAIT_I32, 2, &array, &err);
    assert_good(err);
    assert_true(array.flags & KRAIT_ARRAY_COPIED);
    assert_memory_equal(array.data, ((int32_t[]){ 9, 11, 5, 7, 1, 3 }), 24);
    krait_value_clear(&out);
    krait_call(func, &arg, 1, &keep, &out, &err);
    krait_get_array(&out, KRAIT_I32, 2, &array, &err);
    assert_good(err);
    assert_false(array.flags & KRAIT_ARRAY_COPIED);
    assert_int_equal(array.strides[0], -16);
    assert_int_equal(array.strides[1], 8);
    assert_int_equal(*(int32_t *)array.data, 9);
    krait_value_clear(&out);
    krait_func_unref(func);
}

static void scalars_empty_and_many_dimensions(void **state) {
    static const struct {
        const char *text;
        int         ndim;
        int64_t     size;
    } rows[] = {
        { "numpy.array(7.5)", 0, 1 },
        { "numpy.zeros((0, 3))", 2, 0 },
        { "numpy.zeros((2,) * 5)", 5, 32 },
        { "numpy.zeros((1,) * 32)", 32, 1 },
    };
    (void)state;
    for (size_t i = 0; i < COUNT(rows); i++) {
        krait_error *err = NULL;
        krait_value  out;
        krait_array  array;
        call1("tensors:tensor", krait_str(rows[i].text), 0, &out, &err);
        krait_get_array(&out, KRAIT_F64, rows[i].ndim, &array, &err);
        assert_good(err);
        assert_int_equal(array.size, rows[i].size);
        krait_value_clear(&out);
    }
}

/* What lies in lent memory is copied like any other result, or marked. */
static void tensors_over_arguments(void **state) {
    krait_metrics before = at_rest();
    krait_error  *err = NULL;
    double        lent[] = { 1, 2, 3 };
    krait_value   out;
    krait_array   array;
    (void)state;
    call1("tensors:around", krait_vector_f64(lent, 3), KRAIT_WRITABLE, &out, &err);
    krait_get_array(&out, KRAIT_F64, 1, &array, &err);
    assert_good(err);
    assert_ptr_not_equal(array.data, lent);
    assert_true(array.flags & KRAIT_ARRAY_COPIED);
    assert_memory_equal(array.data, lent, sizeof lent);
    krait_value_clear(&out);
    call1("tensors:around", krait_vector_f64(lent, 3), KRAIT_WRITABLE | KRAIT_ALIAS, &out, &err);
    krait_get_array(&out, KRAIT_F64, 1, &array, &err);
    assert_good(err);
    assert_ptr_equal(array.data, lent);
    assert_true(array.flags & KRAIT_ARRAY_ALIAS);
    krait_value_clear(&out);
    assert_nothing_left(&before);
}

static void tensors_elsewhere_are_refused(void **state) {
    static const struct {
        int         type;
        const char *name;
    } rows[] = { { 2, "CUDA device 0" },      { 3, "CUDA host device 0" },    { 8, "Metal device 0" },
                 { 10, "ROCm device 0" },     { 13, "CUDA managed device 0" }, { 14, "oneAPI device 0" },
                 { 99, "an unknown device 0 (DLPack type 99)" }, { -1, "answered (-1, 0), which is no device" } };
    krait_metrics before = at_rest();
    krait_error  *err = NULL;
    krait_value   out;
    (void)state;
    call("tensors:on_cuda", NULL, 0, &out, &err);
    assert_string_equal(krait_error_step(err), "convert result");
    assert_error(err, KRAIT_E_UNSUPPORTED, "the tensor lies on CUDA device 1 (DLPack type 2)");
    assert_int_equal(answer("tensors:asked"), 0); /* its memory was not asked for */
    for (size_t i = 0; i < COUNT(rows); i++) {
        call1("tensors:on", krait_i64(rows[i].type), 0, &out, &err);
        assert_error(err, KRAIT_E_UNSUPPORTED, rows[i].name);
    }
    assert_nothing_left(&before);
}

/* ---- made by hand ------------------------------------------------------------------------------------------------ */

static void a_tensor_is_deleted_once(void **state) {
    static const struct {
        const char *text, *used;
        bool        writable;
    } rows[] = {
        { "Plain", "used_dltensor", true },
        { "Versioned", "used_dltensor_versioned", true },
        { "Versioned, flags=1", "used_dltensor_versioned", false },
        { "Versioned, flags=2", "used_dltensor_versioned", true },
        { "Plain, code=6", "used_dltensor", true }, /* bool: numpy 1.24 itself has none */
    };
    krait_metrics before;
    krait_error  *err = NULL;
    (void)state;
    call1("tensors:make", krait_str("Plain"), 0, NULL, &err);
    before = at_rest();
    for (size_t i = 0; i < COUNT(rows); i++) {
        krait_value out;
        krait_array array;
        call1("tensors:make", krait_str(rows[i].text), 0, &out, &err);
        krait_get_array(&out, KRAIT_ANY, 1, &array, &err);
        assert_good(err);
        assert_int_equal(((uint8_t *)array.data)[3], 3);
        assert_int_equal(!!(array.flags & KRAIT_ARRAY_WRITABLE), rows[i].writable);
        assert_ends(0, 1, rows[i].used);
        krait_value_clear(&out);
        assert_nothing_left(&before);
        assert_ends(1, 0, rows[i].used);
    }
}

static void *clear_elsewhere(void *value) {
    krait_value_clear(value);
    return NULL;
}

/* The deleter is Python code: it has to find an interpreter whichever thread clears the value. */
static void cleared_by_a_foreign_thread(void **state) {
    krait_error *err = NULL;
    krait_value  out;
    pthread_t    thread;
    (void)state;
    call1("tensors:make", krait_str("Versioned, shape=(2, 2), strides=(1, 2)"), 0, &out, &err);
    assert_good(err);
    assert_int_equal(pthread_create(&thread, NULL, clear_elsewhere, &out), 0);
    pthread_join(thread, NULL);
    for (int ms = 0; ms < PATIENCE_MS && counters().pending_releases; ms++) wait_ms(1);
    assert_ends(1, 0, "used_dltensor_versioned"); /* F order was copied: gone already */
    call1("tensors:make", krait_str("Plain, offset=60"), 0, &out, &err);
    assert_good(err);
    assert_int_equal(*(uint8_t *)out.as.array.data, 60);
    assert_int_equal(pthread_create(&thread, NULL, clear_elsewhere, &out), 0);
    pthread_join(thread, NULL);
    for (int ms = 0; ms < PATIENCE_MS && counters().pending_releases; ms++) wait_ms(1);
    krait_gc(NULL);
    assert_ends(1, 0, "used_dltensor");
}

static void faulty_tensors_are_refused(void **state) {
    static const struct {
        const char  *text, *message;
        krait_status status;
    } rows[] = {
        { "Versioned, major=2", "DLPack 2.0, expected 1.x", KRAIT_E_UNSUPPORTED },
        { "Versioned, major=0", "DLPack 0.0, expected 1.x", KRAIT_E_UNSUPPORTED },
        { "Plain, device=2", "lies on CUDA device 0", KRAIT_E_UNSUPPORTED }, /* its __dlpack_device__ lied */
        { "Plain, lanes=4", "vectors of 4 lanes", KRAIT_E_UNSUPPORTED },
        { "Plain, bits=3", "uint, 3 bits", KRAIT_E_UNSUPPORTED },
        { "Plain, code=3, bits=64", "opaque handle, 64 bits", KRAIT_E_UNSUPPORTED },
        { "Plain, code=4, bits=16", "bfloat, 16 bits", KRAIT_E_UNSUPPORTED },
        { "Plain, code=10", "small float, 8 bits", KRAIT_E_UNSUPPORTED },
        { "Plain, ndim=-1", "-1 dimensions", KRAIT_E_SHAPE },
        { "Plain, ndim=33", "33 dimensions", KRAIT_E_SHAPE },
        { "Plain, shape=(-4,)", "dimension 0 is negative", KRAIT_E_SHAPE },
        { "Plain, shape=(2**62, 4)", "more bytes than memory can have", KRAIT_E_SHAPE },
        { "Plain, bits=64, strides=(2**61,)", "reaches beyond memory", KRAIT_E_SHAPE },
        { "Plain, offset=2**64 - 1", "byte_offset 18446744073709551615 reaches beyond", KRAIT_E_SHAPE },
        { "Plain, data=None", "data is NULL", KRAIT_E_ARGUMENT },
    };
    krait_metrics before;
    krait_error  *err = NULL;
    krait_value   out;
    (void)state;
    call1("tensors:make", krait_str("Plain"), 0, NULL, &err);
    before = at_rest();
    for (size_t i = 0; i < COUNT(rows); i++) {
        call1("tensors:make", krait_str(rows[i].text), 0, &out, &err);
        assert_error(err, rows[i].status, rows[i].message);
        assert_int_equal(out.kind, KRAIT_KIND_NONE);
        assert_ends(0, 1, rows[i].text[0] == 'P' ? "dltensor" : "dltensor_versioned"); /* still the producer's */
    }
    assert_nothing_left(&before);
}

static void odd_answers_are_refused(void **state) {
    krait_error *err = NULL;
    krait_value  out;
    (void)state;
    call1("tensors:odd", krait_str("42"), 0, &out, &err);
    assert_error(err, KRAIT_E_UNSUPPORTED, "__dlpack__ answered an object of type int, expected a capsule");
    call1("tensors:odd", krait_str("new(1, USED, None)"), 0, &out, &err);
    assert_error(err, KRAIT_E_UNSUPPORTED, "expected a capsule named dltensor or dltensor_versioned that nobody used");
    call1("tensors:odd", krait_str("broken"), 0, &out, &err);
    assert_error(err, KRAIT_E_PYTHON, "this tensor needs its gradient");
    assert_int_equal(out.kind, KRAIT_KIND_NONE);
}

/* ---- the other way ----------------------------------------------------------------------------------------------- */

/* A result exported as a tensor and imported again, on the way losing nothing: what a C library would be handed. */
static void results_as_tensors(void **state) {
    krait_metrics before = at_rest();
    krait_error  *err = NULL;
    krait_value   out, back;
    krait_array   array;
    void         *tensor;
    const double *data;
    (void)state;
    call1("tensors:tensor", krait_str("numpy.arange(6.0).reshape(2, 3)"), 0, &out, &err);
    assert_good(err);
    data = out.as.array.data;
    krait_dlpack_export(&out, true, &tensor, &err);
    assert_good(err);
    assert_int_equal(out.kind, KRAIT_KIND_NONE); /* moved */
    krait_value_clear(&out);
    krait_dlpack_import(tensor, true, &back, &err);
    krait_get_array(&back, KRAIT_F64, 2, &array, &err);
    assert_good(err);
    assert_ptr_equal(array.data, data);
    assert_true(data[5] == 5);
    call1("tensors:flags", krait_borrow(&back), 0, &out, &err);
    assert_good(err);
    krait_value_clear(&out);
    krait_value_clear(&back);
    assert_nothing_left(&before);
}

static int set_up(void **state) {
    int failed = begin(state);
    if (!failed) define("tensors", module);
    return failed;
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(tensors_are_arrays),
        cmocka_unit_test(tensors_of_every_dtype),
        cmocka_unit_test(strided_tensors),
        cmocka_unit_test(scalars_empty_and_many_dimensions),
        cmocka_unit_test(tensors_over_arguments),
        cmocka_unit_test(tensors_elsewhere_are_refused),
        cmocka_unit_test(a_tensor_is_deleted_once),
        cmocka_unit_test(cleared_by_a_foreign_thread),
        cmocka_unit_test(faulty_tensors_are_refused),
        cmocka_unit_test(odd_answers_are_refused),
        cmocka_unit_test(results_as_tensors),
    };
    return cmocka_run_group_tests(tests, set_up, NULL);
}
