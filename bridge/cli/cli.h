/* cli: the krait command. One file for each subcommand; main.c holds the list. Uses the public header of krait only. */
#ifndef KRAIT_CLI_H
#define KRAIT_CLI_H

#include <krait.h>

/* Exit codes. */
enum {
    CLI_GOOD = 0,
    CLI_BAD = 1,  /* it was tried and does not work */
    CLI_USAGE = 2 /* not tried: the command line is wrong */
};

/* A subcommand. argv[0] is its name; run returns the exit code. */
typedef struct cli_command {
    const char *name, *arguments, *summary;
    int (*run)(int argc, char **argv);
} cli_command;

int cli_doctor(int argc, char **argv);

/* Says what is wrong with the command line, and where help is; returns CLI_USAGE. */
int cli_usage(const char *format, ...) KRAIT_PRINTF(1, 2);

/* Says on stderr what failed; clears the error and returns CLI_BAD. */
int cli_fail(const char *what, krait_error **err);

/* Writes to stdout; a full disk or a closed pipe is CLI_BAD and said on stderr, else CLI_GOOD. */
int cli_write(const char *text, size_t size);

#endif
