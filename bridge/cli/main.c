/* krait: the command. Finds the subcommand in a list and runs it. What it prints on stdout is the answer and nothing
 * else; what went wrong goes to stderr. A command line that is not understood is refused as a whole, exit code 2. */
#include "cli.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>

static int help(int argc, char **argv);
static int version(int argc, char **argv);

static const cli_command commands[] = {
    { "doctor", "[--json]", "which Python, what is missing and what cures it; exit code 0 if a real call works",
      cli_doctor },
    { "version", "", "the version of krait", version },
    { "help", "", "this text", help },
};

static int help(int argc, char **argv) {
    if (argc > 1) return cli_usage("help takes no argument, got '%s'", argv[1]);
    printf("usage: krait COMMAND [ARGUMENT...]\n\n");
    for (size_t i = 0; i < sizeof commands / sizeof *commands; i++)
        printf("  krait %-8s%-10s%s\n", commands[i].name, commands[i].arguments, commands[i].summary);
    return cli_write("", 0);
}

static int version(int argc, char **argv) {
    if (argc > 1) return cli_usage("version takes no argument, got '%s'", argv[1]);
    printf("krait %s\n", krait_version());
    return cli_write("", 0);
}

int cli_usage(const char *format, ...) {
    va_list args;
    va_start(args, format);
    fputs("krait: ", stderr);
    vfprintf(stderr, format, args);
    fputs("; `krait help` lists the commands\n", stderr);
    va_end(args);
    return CLI_USAGE;
}

int cli_fail(const char *what, krait_error **err) {
    fprintf(stderr, "krait: %s: %s: %s\n", what, krait_error_step(*err), krait_error_message(*err));
    krait_error_clear(err);
    return CLI_BAD;
}

int cli_write(const char *text, size_t size) {
    fwrite(text, 1, size, stdout);
    if (!fflush(stdout) && !ferror(stdout)) return CLI_GOOD;
    fprintf(stderr, "krait: stdout: %s\n", strerror(errno));
    return CLI_BAD;
}

/* What people type without thinking. */
static const char *full_name(const char *name) {
    if (!strcmp(name, "--help") || !strcmp(name, "-h")) return "help";
    return strcmp(name, "--version") ? name : "version";
}

int main(int argc, char **argv) {
    const char *name = argc > 1 ? full_name(argv[1]) : NULL;
    if (!name) return cli_usage("a command is missing");
    for (size_t i = 0; i < sizeof commands / sizeof *commands; i++)
        if (!strcmp(commands[i].name, name)) return commands[i].run(argc - 1, argv + 1);
    return cli_usage("there is no command '%s'", argv[1]);
}
