/* locate: finds a Python by looking at files, without running it.
 *
 * Knows no Python: what it needs is where a standard build, a Debian, a venv, a pyenv or a conda keep things. A child
 * process is started only when the layout is unknown (a wrapper script, a pyenv or conda shim). What is missing is an
 * error that names the file looked for and, after the last "; ", the cure on this machine: the doctor cuts there. An
 * explicit choice is never second-guessed: what KRAIT_PYTHON names is used or refused. A program that runs with more
 * rights than its user has (setuid) does not listen to the environment. */
#ifndef KRAIT_LIB_LOCATE_H
#define KRAIT_LIB_LOCATE_H

#include <stdbool.h>
#include <stdint.h>

#include <krait/status.h>

#include "error.h"

enum {
    KRAIT__PYTHON_MINOR_MIN = 11,         /* 3.11 is the oldest */
    KRAIT__PROBE_MS = 10000,              /* a shim that takes longer is given up; a healthy one takes 25 ms */
    KRAIT__CHILD_OUTPUT_MAX = 1024 * 1024 /* bytes kept of what a child prints; the rest is read and dropped */
};

/* A Python that was found; all texts owned. */
typedef struct krait__place {
    const char *rule;       /* static: "krait_options.python", "KRAIT_PYTHON", "VIRTUAL_ENV" or "python3 on PATH" */
    char       *given;      /* what that rule said; on PATH: the file found */
    char       *executable; /* to be given to Python as its own name, absolute: for a venv <venv>/bin/python, links not
                               resolved. Need not exist where only the libraries are installed */
    char *libpython;        /* the shared library to open */
    char *prefix;           /* the venv's folder, else base_prefix */
    char *base_prefix;      /* where lib/python3.Y/os.py is */
    char *stdlib;           /* the folder of os.py, or the zip file that replaces it */
    int   minor;            /* 3.minor */
    bool  probed;           /* a child had to be started */
} krait__place;

/* Chooses and finds. `python` is krait_options.python or NULL; empty is NULL. `steps`, when not NULL, gets one line for
 * everything looked at, for the doctor. On failure *place is empty. */
krait_status krait__locate(const char *python, krait__place *place, krait__text *steps, krait_error **err);
void         krait__place_free(krait__place *place); /* NULL and empty are fine */

/* Checks a found Python before it is started, since CPython cannot try again: os.py and encodings; PYTHONHOME, when set
 * and `use_environment`, names a home with them; the numpy package under prefix, when there is one, is whole. */
krait_status krait__place_check(const krait__place *place, bool use_environment, krait_error **err);

/* Runs `executable -I -c source` as a child, adds what it prints (both streams) to *output, and ends it after
 * timeout_ms (negative: never); for the doctor, and to explain a failed start. Returns the exit code, 128 + n when
 * signal n ended it, or -1 when it could not be run, was killed at the limit, or failed while the host takes exit codes
 * away; then the last line of *output says so. The host's SIGCHLD handling, signal mask and descriptors do not matter.
 */
int krait__locate_run(const char *executable, const char *source, int64_t timeout_ms, krait__text *output);

#endif
