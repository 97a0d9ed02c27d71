/* Python objects that have no C form: handles with attributes and methods, and iterators.
 *
 * Any value that krait filled and that still stands for its Python object may be given as `object`: what is there for
 * a KRAIT_KIND_OBJECT works on an array or a table too. All of these run Python code: what is said of krait_call
 * (lending, escapes, threads, the GIL, errors) holds for them. */
#ifndef KRAIT_OBJECT_H
#define KRAIT_OBJECT_H

#include <krait/call.h>

KRAIT_BEGIN

/* object.name, and `object.name = value`. What an object keeps is not lent any more: give arrays with KRAIT_COPY or
 * krait_owned, else it is KRAIT_E_ESCAPED.
 * Ownership: *out is the caller's.  Threads: any.  GIL: not needed.
 * Errors: KRAIT_E_KIND (no Python object), KRAIT_E_NOT_FOUND (no such attribute), those of krait_call.  Since: 0.1 */
KRAIT_API krait_status krait_object_get(const krait_value *object, const char *name, krait_value *out,
                                        krait_error **err);
KRAIT_API krait_status krait_object_set(const krait_value *object, const char *name, const krait_arg *value,
                                        krait_error **err);

/* object.method(args...); with `method` NULL, object(args...).
 * Ownership: *out is the caller's.  Threads: any.  GIL: not needed.
 * Errors: KRAIT_E_KIND, KRAIT_E_NOT_FOUND, those of krait_call.  Since: 0.1 */
KRAIT_API krait_status krait_object_call(const krait_value *object, const char *method, const krait_arg *args,
                                         size_t n, const krait_call_options *options, krait_value *out,
                                         krait_error **err);

/* object[key]; KeyError and IndexError are KRAIT_E_NOT_FOUND.
 * Ownership: *out is the caller's.  Threads: any.  GIL: not needed.
 * Errors: KRAIT_E_KIND, KRAIT_E_NOT_FOUND, those of krait_call.  Since: 0.1 */
KRAIT_API krait_status krait_object_item(const krait_value *object, const krait_arg *key, krait_value *out,
                                         krait_error **err);

/* len(object).  Threads: any.  GIL: not needed.  Errors: KRAIT_E_KIND (it has none too), those of krait_call.
 * Since: 0.1 */
KRAIT_API krait_status krait_object_len(const krait_value *object, size_t *out, krait_error **err);

/* isinstance(object, class) by the class's name, "sklearn.base:BaseEstimator"; imports its module.
 * Threads: any.  GIL: not needed.
 * Errors: KRAIT_E_KIND (no Python object, no class), KRAIT_E_IMPORT, KRAIT_E_NOT_FOUND, KRAIT_E_ARGUMENT.
 * Since: 0.1 */
KRAIT_API krait_status krait_object_isinstance(const krait_value *object, const char *type, bool *out,
                                               krait_error **err);

/* repr(object), as text; of any value.
 * Ownership: *out is the caller's.  Threads: any.  GIL: not needed.  Errors: those of krait_call.  Since: 0.1 */
KRAIT_API krait_status krait_object_repr(const krait_value *object, krait_value *out, krait_error **err);

/* A callable object, or a method of an object, as a function for krait_call; it keeps the object alive and may be
 * called from many threads at once.
 * Ownership: the caller's; krait_func_unref.  Threads: any.  GIL: not needed.
 * Errors: KRAIT_E_KIND (not callable, no Python object), KRAIT_E_NOT_FOUND, those of krait_call.  Since: 0.1 */
KRAIT_API krait_func *krait_func_of(const krait_value *object, krait_error **err);
KRAIT_API krait_func *krait_method(const krait_value *object, const char *name, krait_error **err);

/* The next item of an iterator: KRAIT_OK, or KRAIT_DONE at its end (*out is none). Clearing the iterator before its end
 * closes it: a generator's `finally` blocks run, on krait's own thread or that of a later call.
 * Ownership: *out is the caller's.  Threads: any, one at a time.  GIL: not needed.
 * Errors: KRAIT_E_KIND (no iterator), those of krait_call.  Since: 0.1 */
KRAIT_API krait_status krait_next(const krait_value *iterator, krait_value *out, krait_error **err);

KRAIT_END
#endif
