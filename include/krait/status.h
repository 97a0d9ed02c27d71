/* Statuses and errors. */
#ifndef KRAIT_STATUS_H
#define KRAIT_STATUS_H

#include <stddef.h>
#include <stdint.h>

#include <krait/version.h>

KRAIT_BEGIN

/* The statuses, written once: X(name, number, class, HTTP code, gRPC code, meaning). Numbers have gaps and are never
 * used again for another meaning. HTTP and gRPC codes are what a service would answer with. */
#define KRAIT_STATUS_MAP(X) \
    X(KRAIT_OK, 0, KRAIT_CLASS_NONE, 200, 0, "success") \
    X(KRAIT_DONE, 1, KRAIT_CLASS_NONE, 204, 0, "success, and nothing more to come") \
    X(KRAIT_E_ARGUMENT, -10, KRAIT_CLASS_CALLER, 400, 3, "an argument is not what the function takes") \
    X(KRAIT_E_KIND, -11, KRAIT_CLASS_CALLER, 422, 9, "a value is of another kind or dtype than was asked for") \
    X(KRAIT_E_SHAPE, -12, KRAIT_CLASS_CALLER, 422, 3, "an array has another shape than asked for") \
    X(KRAIT_E_RANGE, -13, KRAIT_CLASS_CALLER, 422, 11, "a number does not fit the type") \
    X(KRAIT_E_ENCODING, -14, KRAIT_CLASS_CALLER, 422, 3, "text is not valid UTF-8") \
    X(KRAIT_E_UNSUPPORTED, -15, KRAIT_CLASS_CALLER, 501, 12, "krait does not support this, or not yet") \
    X(KRAIT_E_ESCAPED, -16, KRAIT_CLASS_CALLER, 500, 9, "Python kept memory that was lent for one call") \
    X(KRAIT_E_NOT_FOUND, -17, KRAIT_CLASS_CALLER, 404, 5, "no module, attribute, key or item of that name") \
    X(KRAIT_E_STACK, -18, KRAIT_CLASS_CALLER, 500, 9, "the calling thread's stack is too small for Python") \
    X(KRAIT_E_AMBIGUOUS, -19, KRAIT_CLASS_CALLER, 409, 9, "a name stands for more than one column") \
    X(KRAIT_E_NOMEM, -30, KRAIT_CLASS_ENVIRONMENT, 503, 8, "out of memory") \
    X(KRAIT_E_SYSTEM, -31, KRAIT_CLASS_ENVIRONMENT, 500, 13, "the operating system refused something") \
    X(KRAIT_E_NO_PYTHON, -32, KRAIT_CLASS_ENVIRONMENT, 500, 9, "no usable Python was found") \
    X(KRAIT_E_NO_LIBPYTHON, -33, KRAIT_CLASS_ENVIRONMENT, 500, 9, "this Python has no shared libpython") \
    X(KRAIT_E_PYTHON_VERSION, -34, KRAIT_CLASS_ENVIRONMENT, 500, 9, "this Python is too old") \
    X(KRAIT_E_STATIC, -35, KRAIT_CLASS_ENVIRONMENT, 500, 9, "a fully static program cannot load Python") \
    X(KRAIT_E_INIT, -36, KRAIT_CLASS_ENVIRONMENT, 500, 13, "Python could not be started") \
    X(KRAIT_E_CONFLICT, -37, KRAIT_CLASS_ENVIRONMENT, 500, 9, "Python already runs here with other settings") \
    X(KRAIT_E_NO_NUMPY, -38, KRAIT_CLASS_ENVIRONMENT, 500, 9, "numpy is missing or broken") \
    X(KRAIT_E_PYTHON, -50, KRAIT_CLASS_PYTHON, 500, 2, "the Python function raised an exception") \
    X(KRAIT_E_IMPORT, -51, KRAIT_CLASS_PYTHON, 500, 9, "a module could not be imported") \
    X(KRAIT_E_EXIT, -52, KRAIT_CLASS_PYTHON, 500, 2, "Python code asked the program to exit") \
    X(KRAIT_E_TIMEOUT, -70, KRAIT_CLASS_PLACE, 504, 4, "it did not end within the time given") \
    X(KRAIT_E_NOT_READY, -90, KRAIT_CLASS_LIFE, 503, 9, "krait_init has not been called, or failed") \
    X(KRAIT_E_CLOSED, -91, KRAIT_CLASS_LIFE, 503, 14, "krait was shut down") \
    X(KRAIT_E_FORKED, -92, KRAIT_CLASS_LIFE, 500, 9, "this process was forked from the one that runs Python")

typedef enum krait_status {
#define KRAIT_STATUS_ENUM(name, number, group, http, grpc, text) name = number,
    KRAIT_STATUS_MAP(KRAIT_STATUS_ENUM)
#undef KRAIT_STATUS_ENUM
        KRAIT_STATUS_LAST_ = 0x7fff
} krait_status;

/* Whose matter a status is. */
typedef enum krait_class {
    KRAIT_CLASS_NONE = 0,        /* not an error */
    KRAIT_CLASS_CALLER = 1,      /* the calling program's mistake */
    KRAIT_CLASS_ENVIRONMENT = 2, /* Python, numpy or the machine is not set up */
    KRAIT_CLASS_PYTHON = 3,      /* the Python code raised */
    KRAIT_CLASS_PLACE = 4,       /* where it ran: time, queue, process */
    KRAIT_CLASS_LIFE = 5         /* before init, after shutdown, after fork */
} krait_class;

/* "KRAIT_E_RANGE"; "unknown status" for a number that is none.
 * Ownership: static.  Threads: any.  GIL: not needed.  Errors: none.  Since: 0.1 */
KRAIT_API const char *krait_status_name(krait_status status);

/* The one-line meaning of a status.
 * Ownership: static.  Threads: any.  GIL: not needed.  Errors: none.  Since: 0.1 */
KRAIT_API const char *krait_status_text(krait_status status);

/* Class, HTTP code and gRPC code of a status; for a number that is no status: KRAIT_CLASS_CALLER, 500, 2.
 * Threads: any.  GIL: not needed.  Errors: none.  Since: 0.1 */
KRAIT_API krait_class krait_status_class(krait_status status);
KRAIT_API int krait_status_http(krait_status status);
KRAIT_API int krait_status_grpc(krait_status status);

/* An error: made only on failure, owned by the caller, holds no Python object. Start with `krait_error *err = NULL`. */
typedef struct krait_error krait_error;

/* Fills *err, for host functions (krait/host.h) and programs of their own; nothing when it holds an error already or
 * err is NULL. A status that is none, or no error, becomes KRAIT_E_ARGUMENT. `format` is printf's. Returns the status
 * of *err, else `status`.
 * Ownership: *err is the caller's.  Threads: any.  GIL: not needed.  Errors: the static out-of-memory error.
 * Since: 0.1 */
KRAIT_API krait_status krait_error_new(krait_error **err, krait_status status, const char *format, ...)
    KRAIT_PRINTF(3, 4);

/* Frees the error and sets *err to NULL. NULL and a pointer to NULL do nothing.
 * Threads: any.  GIL: not needed.  Errors: none.  Since: 0.1 */
KRAIT_API void krait_error_clear(krait_error **err);

/* Status of the error; KRAIT_OK for NULL.  Threads: any.  GIL: not needed.  Errors: none.  Since: 0.1 */
KRAIT_API krait_status krait_error_status(const krait_error *err);

/* What was wrong, what was got, what would be right. For KRAIT_E_PYTHON the exception's own text, or its type
 * where it has none. At most 64 KiB;
 * what was cut is told at its end. Never NULL: "" for NULL.
 * Ownership: borrowed from the error, as are all texts below.  Threads: any.  GIL: not needed.  Errors: none.  Since:
 * 0.1 */
KRAIT_API const char *krait_error_message(const krait_error *err);

/* Which step failed: "init", "import", "convert argument 2 'ddof'", "call", "convert result", ...; "read value"
 * where a reader found another value than it was asked for, "build table" where a column was refused. Never NULL.
 * Ownership: borrowed.  Threads: any.  GIL: not needed.  Errors: none.  Since: 0.1 */
KRAIT_API const char *krait_error_step(const krait_error *err);

/* Qualified type of the Python exception, "ValueError" or "numpy.linalg.LinAlgError"; NULL when Python raised nothing.
 * Ownership: borrowed.  Threads: any.  GIL: not needed.  Errors: none.  Since: 0.1 */
KRAIT_API const char *krait_error_python_type(const krait_error *err);

/* The traceback as Python prints it, causes included; at most 256 KiB. NULL when Python raised nothing.
 * Ownership: borrowed.  Threads: any.  GIL: not needed.  Errors: none.  Since: 0.1 */
KRAIT_API const char *krait_error_traceback(const krait_error *err);

/* One frame of a traceback. */
typedef struct krait_frame {
    const char *file;
    const char *function;
    int32_t     line; /* 1 is the first; 0 unknown */
    int32_t     reserved;
} krait_frame;

/* The exception's frames, outermost first; of more than 128, the first and last 64. Returns their number and fills
 * *frames (NULL for none).
 * Ownership: borrowed.  Threads: any.  GIL: not needed.  Errors: none.  Since: 0.1 */
KRAIT_API size_t krait_error_frames(const krait_error *err, const krait_frame **frames);

/* The error that led to this one (`raise ... from`, or raised while it was handled), or NULL; at most 16 deep.
 * Ownership: borrowed.  Threads: any.  GIL: not needed.  Errors: none.  Since: 0.1 */
KRAIT_API const krait_error *krait_error_cause(const krait_error *err);

/* Notes added to the exception (PEP 678). Returns their number; krait_error_note gives one, NULL past the end.
 * Ownership: borrowed.  Threads: any.  GIL: not needed.  Errors: none.  Since: 0.1 */
KRAIT_API size_t krait_error_note_count(const krait_error *err);
KRAIT_API const char *krait_error_note(const krait_error *err, size_t index);

/* The error as one JSON object for a log: status, number, step, message, python_type, traceback, frames, notes,
 * cause. Writes at most `size` bytes, NUL included, like snprintf; returns the length needed without the NUL.
 * Threads: any.  GIL: not needed.  Errors: none.  Since: 0.1 */
KRAIT_API size_t krait_error_json(const krait_error *err, char *buffer, size_t size);

KRAIT_END
#endif
