/* report: what the doctor found, as text for people (problems first, each with its cure) or as one JSON object.
 *
 * Written in one pass, in either format: problems and warnings may be told at any time and still stand first. Knows no
 * Python, and gives no judgement of its own. Texts may be in any encoding: what is not UTF-8 in the end becomes '?'. */
#ifndef KRAIT_LIB_REPORT_H
#define KRAIT_LIB_REPORT_H

#include <krait/runtime.h>

#include "error.h"

typedef enum krait__grade { KRAIT__PROBLEM, KRAIT__WARNING, KRAIT__GRADES } krait__grade;

/* Start with { .format = KRAIT_REPORT_... }, all else zero. */
typedef struct krait__report {
    int         format;
    unsigned    count[KRAIT__GRADES];
    krait__text told[KRAIT__GRADES];
    krait__text body;    /* the sections */
    const char *section; /* the open one; NULL: none */
    bool        has_entry;
} krait__report;

/* What is wrong, in one sentence, and the command or deed that cures it (NULL: none is known). */
void krait__report_tell(krait__report *report, krait__grade grade, const char *cure, const char *format, ...)
    KRAIT_PRINTF(4, 5);

/* Begins a section; the entries that follow stand in it. JSON has it also when it stays empty. Names and keys are those
 * of JSON; text has blanks for the "_" of those in small letters. `name` is kept, not copied. */
void krait__report_section(krait__report *report, const char *name);
/* Scalars, texts that end with a NUL, lists and maps of these. */
void krait__report_value(krait__report *report, const char *key, const krait_value *value);
void krait__report_text(krait__report *report, const char *key, const char *text); /* NULL is none */
void krait__report_number(krait__report *report, const char *key, int64_t number);
/* A list, of each line of text. */
void krait__report_lines(krait__report *report, const char *key, const char *text);

/* Puts it together, with `error` (NULL: all is well) in full at the end; *out owns the text. Frees the report. */
krait_status krait__report_finish(krait__report *report, const krait_error *error, krait_value *out, krait_error **err);

#endif
