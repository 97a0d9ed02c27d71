// The work of the bench through pybind11's embedding, as its documentation writes it.
//
//   peer_pybind11 <python executable>
#include "bench.h"

#include <pybind11/embed.h>
#include <pybind11/numpy.h>

namespace py = pybind11;

static py::object *same, *fixed; // never destroyed: Python is not finalised
static double      ticks[BENCH_LENGTH];

// Exceptions end here: pthreads know none.
template <typename Work> static int64_t guarded(int64_t n, Work work) {
    try {
        int64_t start = bench_now();
        for (int64_t i = 0; i < n; i++)
            if (!work(i)) return BENCH_FAILED;
        return bench_now() - start;
    } catch (const std::exception &error) {
        fprintf(stderr, "pybind11: %s\n", error.what());
        return BENCH_FAILED;
    }
}

static bool call(int64_t i) {
    auto x = static_cast<double>(i);
    return (*same)(x).cast<double>() == x;
}

static int64_t call_held(int64_t n) {
    py::gil_scoped_acquire held;
    return guarded(n, call);
}

static int64_t call_foreign_thread(int64_t n) {
    return guarded(n, [](int64_t i) {
        py::gil_scoped_acquire acquired;
        return call(i);
    });
}

static bool call_array(int64_t) {
    py::capsule           owner(ticks, [](void *) {});
    py::array_t<double>   lent({ static_cast<py::ssize_t>(BENCH_LENGTH) }, ticks, owner);
    py::object            out = (*fixed)(lent);
    if (!py::isinstance<py::array_t<double, py::array::c_style>>(out)) return false;
    auto array = py::reinterpret_borrow<py::array_t<double, py::array::c_style>>(out);
    return array.ndim() == 1 && array.shape(0) == BENCH_LENGTH && array.data()[BENCH_LENGTH - 1] == 0;
}

static int64_t array_8k(int64_t n) {
    py::gil_scoped_acquire held;
    return guarded(n, call_array);
}

static py::object *model, *ask; // made on first use: they need pandas

static py::dict executed(const char *source, const char *name) {
    py::module_ builtins = py::module_::import("builtins");
    py::dict    names;
    names["__name__"] = name;
    builtins.attr("exec")(builtins.attr("compile")(source, name, "exec"), names);
    return names;
}

static void prepare_tables() {
    if (model) return;
    py::dict names = executed(BENCH_TABLES_SOURCE, BENCH_TABLES);
    ask = new py::object(names["ask"]);
    model = new py::object(names["Model"]());
}

static int64_t callback(int64_t n) {
    py::gil_scoped_acquire held;
    prepare_tables();
    py::cpp_function last([](double x) { return x; });
    return guarded(1, [&](int64_t) {
        (*ask)(last, n);
        return true;
    });
}

static int64_t object_method(int64_t n) {
    py::gil_scoped_acquire held;
    prepare_tables();
    return guarded(n, [](int64_t i) {
        auto x = static_cast<double>(i);
        return model->attr("predict")(x).cast<double>() == x;
    });
}

static void start_python(const char *executable) {
    PyConfig config;
    PyConfig_InitPythonConfig(&config);
    PyConfig_SetBytesString(&config, &config.program_name, executable);
    py::initialize_interpreter(&config, 0, nullptr, false);
}

static void prepare() {
    py::dict names = executed(BENCH_SOURCE, BENCH_MODULE);
    same = new py::object(names["same"]);
    fixed = new py::object(names["fixed"]);
}

int main(int argc, char **argv) {
    static const bench_figure figures[] = {
        { "call-held", call_held },
        { "call-foreign-thread", call_foreign_thread },
        { "array-8k", array_8k },
        { "callback", callback },
        { "object-method", object_method },
        { nullptr, nullptr },
    };
    if (argc != 2) return EXIT_FAILURE;
    try {
        start_python(argv[1]);
        prepare();
    } catch (const std::exception &error) {
        fprintf(stderr, "pybind11: %s\n", error.what());
        return EXIT_FAILURE;
    }
    py::gil_scoped_release let_go;
    return bench_serve(figures);
}
