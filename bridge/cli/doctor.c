/* krait doctor: prints the report of krait_doctor, which is made also where krait cannot start. The status becomes the
 * exit code. */
#include "cli.h"

int cli_doctor(int argc, char **argv) {
    krait_error *err = NULL;
    krait_value  report;
    const char  *text;
    size_t       size;
    int          format = KRAIT_REPORT_TEXT, code = CLI_BAD;
    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "--json") != 0) return cli_usage("doctor takes --json, got '%s'", argv[i]);
        format = KRAIT_REPORT_JSON;
    }
    krait_doctor(format, &report, &err);
    if (krait_get_text(&report, &text, &size, NULL)) return cli_fail("no report could be made", &err);
    if (cli_write(text, size) == CLI_GOOD && !err) code = CLI_GOOD;
    krait_value_clear(&report);
    krait_error_clear(&err);
    return code;
}
