#include "pyapi.h"

#include <dlfcn.h>
#include <stdlib.h>
#include <string.h>

#include "locate.h"

krait__pyapi krait__py;

enum { MUST, MAY };

static const struct symbol {
    const char *name;
    size_t      offset;
    int         need;
} symbols[] = {
#define PY_FUNCTION(need, fails, type, name, args) { #name, offsetof(krait__pyapi, name), need },
#define PY_DATA(type, name) { #name, offsetof(krait__pyapi, name), MUST },
#include "pyapi.def"
#undef PY_FUNCTION
#undef PY_DATA
};

static krait_status too_old(int major, int minor, krait_error **err) {
    return krait__fail(err, KRAIT_E_PYTHON_VERSION, "this is Python %d.%d; krait needs 3.%d or newer", major, minor,
                       KRAIT__PYTHON_MINOR_MIN);
}

static krait_status check_version(void *handle, krait_error **err) {
    const char *(*version)(void);
    const char *text;
    char       *end;
    long        major, minor = 0;
    void       *symbol = dlsym(handle, "Py_GetVersion");
    if (!symbol) return krait__fail(err, KRAIT_E_NO_LIBPYTHON, "the library has no Py_GetVersion: it is no libpython");
    memcpy(&version, &symbol, sizeof version);
    text = version();
    major = strtol(text, &end, 10);
    if (*end == '.') minor = strtol(end + 1, NULL, 10);
    if (major != 3 || minor < KRAIT__PYTHON_MINOR_MIN) return too_old((int)major, (int)minor, err);
    krait__py.minor = (int)minor;
    return KRAIT_OK;
}

krait_status krait__pyapi_load(void *handle, krait_error **err) {
    krait_status status = check_version(handle, err);
    if (status) return status;
    for (size_t i = 0; i < sizeof symbols / sizeof *symbols; i++) {
        void *address = dlsym(handle, symbols[i].name);
        if (!address && symbols[i].need == MUST)
            return krait__fail(err, KRAIT_E_NO_LIBPYTHON,
                               "libpython 3.%d has no symbol %s, which every standard build has", krait__py.minor,
                               symbols[i].name);
        memcpy((char *)&krait__py + symbols[i].offset, &address, sizeof address);
    }
    krait__py.current = py.PyThreadState_GetUnchecked ? py.PyThreadState_GetUnchecked : py._PyThreadState_UncheckedGet;
    krait__py.current_is_global = krait__py.minor < 12;
    if (!krait__py.current)
        return krait__fail(err, KRAIT_E_NO_LIBPYTHON, "libpython 3.%d cannot tell the current thread state",
                           krait__py.minor);
    return KRAIT_OK;
}

krait_status krait__pyapi_measure(krait_error **err) {
    PyObject *size = py.PyObject_GetAttrString((PyObject *)py.PyBaseObject_Type, "__basicsize__");
    int       overflow = 0;
    long long bytes = size ? py.PyLong_AsLongLongAndOverflow(size, &overflow) : 0;
    if (size) py.Py_DecRef(size);
    if (bytes < 16 || bytes > 64) {
        py.PyErr_Clear();
        return krait__fail(err, KRAIT_E_INIT, "object.__basicsize__ is %lld, expected 16 to 64", bytes);
    }
    krait__py.header = (size_t)bytes;
    krait__py.type_at = krait__py.header - sizeof(void *);
    return KRAIT_OK;
}
