/* A test program that runs itself a second time, in a process of its own, where pyarrow cannot be imported. */
#ifndef KRAIT_TESTS_INTEGRATION_HIDDEN_H
#define KRAIT_TESTS_INTEGRATION_HIDDEN_H

#include <spawn.h>
#include <sys/wait.h>

#include "check.h"

/* Not by sys.modules['pyarrow'] = None: what Cython compiled takes that for the module. */
static const char hide[] = "import sys\n"
                           "class Hide:\n"
                           "    def find_spec(self, name, path=None, target=None):\n"
                           "        if name.partition('.')[0] == 'pyarrow':\n"
                           "            raise ModuleNotFoundError(f'{name} is hidden', name=name)\n"
                           "assert 'pandas' not in sys.modules\n"
                           "sys.meta_path.insert(0, Hide())\n";

extern char **environ;
static int    second_run = -1; /* wait status */

static void without_pyarrow(void **state) {
    (void)state;
    assert_int_equal(second_run, 0);
}

/* This program again, before any thread is there. */
static void run_without_pyarrow(char *const *argv) {
    pid_t child;
    setenv("KRAIT_TEST_HIDE_PYARROW", "1", 1);
    if (!posix_spawn(&child, "/proc/self/exe", NULL, NULL, argv, environ)) waitpid(child, &second_run, 0);
    unsetenv("KRAIT_TEST_HIDE_PYARROW");
}

#endif
