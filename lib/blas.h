/* blas: the thread budget of the BLAS that numpy brought in.
 *
 * Set through the library's own function, since the environment is read only once, as the library is loaded, and
 * belongs to the host. */
#ifndef KRAIT_LIB_BLAS_H
#define KRAIT_LIB_BLAS_H

/* `wanted` threads; 0: what the environment says if it says anything, else what affinity and quota allow. */
void krait__blas_limit(int wanted);

/* Threads now, -1 when no known BLAS is loaded; *name is static, "OpenBLAS", "MKL" or "BLIS". */
int krait__blas_threads(const char **name);

#endif
