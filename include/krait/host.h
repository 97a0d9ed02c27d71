/* Functions of the host that Python code can call: `from krait import host; host.prices.last("ACME")`. */
#ifndef KRAIT_HOST_H
#define KRAIT_HOST_H

#include <krait/call.h>

KRAIT_BEGIN

/* A host function: a call seen from the other side. args (keywords last, by name) and all they point to are borrowed
 * until it returns; arrays are Python's own memory, not copied. It fills *out (none on entry): what it puts there
 * without a release function is copied right after it returns (so it must not lie on its stack), what it gives with
 * krait_owned is handed over, a result of krait_call as well. On failure it fills *err (err is not NULL, *err is) with
 * krait_error_new, or leaves there what a krait function reported, and returns that status: Python gets it as
 * krait.Error, and if Python lets it pass, the outer krait_call returns the same error.
 * It runs on the thread that the Python code runs on, with the GIL let go, perhaps on several at once; it may block
 * and may call krait. At most 100 nest on one thread (KRAIT_E_STACK). No longjmp or C++ exception may leave it. An
 * array handed over is read-only in Python unless KRAIT_ARRAY_WRITABLE is in its flags. */
typedef krait_status (*krait_host_fn)(void *user, const krait_arg *args, size_t n, krait_value *out,
                                      krait_error **err);

/* Makes fn callable as krait.host.<name>, `name` being identifiers with dots between ("prices.last"). May come before
 * krait_init. destroy(user) (may be NULL) is called once, after krait_unregister and the last run of fn; right away
 * when registering fails.
 * Ownership: user is taken over, whatever happens.  Threads: any.  GIL: not needed.
 * Errors: KRAIT_E_ARGUMENT (no such name, taken already, a prefix of another), KRAIT_E_NOMEM.  Since: 0.1 */
KRAIT_API krait_status krait_register(const char *name, krait_host_fn fn, void *user, void (*destroy)(void *user),
                                      krait_error **err);

/* Takes it back: calls from now on raise, those that run go on. Does not wait for them.
 * Threads: any, also from inside a host function.  GIL: not needed.  Errors: KRAIT_E_NOT_FOUND.  Since: 0.1 */
KRAIT_API krait_status krait_unregister(const char *name, krait_error **err);

KRAIT_END
#endif
