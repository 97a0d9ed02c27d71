/* instant: every unit and multiple in every other, against wide arithmetic and a calendar that counts year by year;
 * what cannot be exact is refused; time values and decimals are read and copied. KRAIT_TEST_SEED repeats a run of the
 * random tests. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "error.h"
#include "instant.h"
#include "mem.h"

#define COUNT(array) (sizeof(array) / sizeof *(array))

__extension__ typedef __int128 wide;

static krait_error *err;

static void says(krait_status got, krait_status expected, const char *message) {
    if (got != expected || krait_error_status(err) != got || strcmp(krait_error_message(err), message) != 0)
        fail_msg("expected %s: %s\n     got %s: %s", krait_status_name(expected), message, krait_status_name(got),
                 krait_error_message(err));
    krait_error_clear(&err);
}

static void good(krait_status status) {
    if (status || err) fail_msg("%s: %s", krait_status_name(status), krait_error_message(err));
}

static int64_t ticks_of(krait_dtype dtype, int64_t ticks, int unit) {
    krait_value value = krait_time(dtype, ticks);
    int64_t     out = 77;
    good(krait_get_ticks(&value, dtype.code, unit, &out, &err));
    return out;
}

static krait_status try_ticks(krait_dtype dtype, int64_t ticks, int unit, int64_t *out) {
    krait_value value = krait_time(dtype, ticks);
    *out = 77;
    return krait_get_ticks(&value, KRAIT_ANY, unit, out, &err);
}

/* ---- known ones -------------------------------------------------------------------------------------------------- */

static void known_conversions(void **state) {
    const struct {
        krait_dtype from;
        int64_t     ticks;
        int         unit;
        int64_t     expected;
    } rows[] = {
        { krait_datetime(KRAIT_DAY, 1), 19723, KRAIT_S, 1704067200 },
        { krait_datetime(KRAIT_S, 1), 1704067200, KRAIT_DAY, 19723 },
        { krait_datetime(KRAIT_S, 25), 4, KRAIT_MS, 100000 },
        { krait_datetime(KRAIT_MINUTE, 30), -3, KRAIT_MINUTE, -90 },
        { krait_timedelta(KRAIT_YEAR, 3), -2, KRAIT_MONTH, -72 },
        { krait_timedelta(KRAIT_MONTH, 6), 4, KRAIT_YEAR, 2 },
        { krait_datetime(KRAIT_YEAR, 1), 54, KRAIT_DAY, 19723 },
        { krait_datetime(KRAIT_MONTH, 1), 54 * 12 + 2, KRAIT_DAY, 19723 + 31 + 29 },
        { krait_datetime(KRAIT_MONTH, 1), -1, KRAIT_NS, -31 * 86400 * INT64_C(1000000000) },
        { krait_datetime(KRAIT_YEAR, 1), -70, KRAIT_DAY, -25567 },      /* 1900 has no leap day */
        { krait_datetime(KRAIT_MONTH, 1), -838, KRAIT_DAY, -25508 },    /* 1900-03-01 */
        { krait_datetime(KRAIT_YEAR, 1), 30, KRAIT_DAY, 10957 },        /* 2000 has one */
        { krait_datetime(KRAIT_YEAR, 1), -1969, KRAIT_DAY, -719162 },   /* 0001-01-01 */
        { krait_datetime(KRAIT_YEAR, 1), -1970, KRAIT_DAY, -719528 },   /* year 0 */
        { krait_datetime(KRAIT_YEAR, 1), 8029, KRAIT_S, 253370764800 }, /* 9999-01-01 */
    };
    (void)state;
    for (size_t i = 0; i < COUNT(rows); i++)
        assert_true(ticks_of(rows[i].from, rows[i].ticks, rows[i].unit) == rows[i].expected);
}

static void what_cannot_be_exact_is_refused(void **state) {
    int64_t out;
    (void)state;
    says(try_ticks(krait_datetime(KRAIT_NS, 1), 1700000000000000001, KRAIT_US, &out), KRAIT_E_RANGE,
         "1700000000000000001 of datetime64[ns] are no whole number of datetime64[us]");
    assert_int_equal(out, 0);
    says(try_ticks(krait_timedelta(KRAIT_S, 25), 3, KRAIT_MINUTE, &out), KRAIT_E_RANGE,
         "3 of timedelta64[25s] are no whole number of timedelta64[m]");
    says(try_ticks(krait_datetime(KRAIT_WEEK, 1), 1, KRAIT_AS, &out), KRAIT_E_RANGE,
         "1 of datetime64[W] are too many for 64 bits of datetime64[as]");
    says(try_ticks(krait_datetime(KRAIT_S, 1), 9223372037, KRAIT_NS, &out), KRAIT_E_RANGE,
         "9223372037 of datetime64[s] are too many for 64 bits of datetime64[ns]");
    says(try_ticks(krait_timedelta(KRAIT_MONTH, 1), 12, KRAIT_DAY, &out), KRAIT_E_RANGE,
         "12 of timedelta64[M] do not convert, since months differ in length, to timedelta64[D]");
    says(try_ticks(krait_datetime(KRAIT_DAY, 1), 31, KRAIT_MONTH, &out), KRAIT_E_RANGE,
         "31 of datetime64[D] do not convert, since months differ in length, to datetime64[M]");
    says(try_ticks(krait_timedelta(KRAIT_GENERIC, 1), 5, KRAIT_S, &out), KRAIT_E_RANGE,
         "5 of timedelta64 have no length that could be told in timedelta64[s]");
    says(try_ticks(krait_timedelta(KRAIT_S, 1), 5, KRAIT_GENERIC, &out), KRAIT_E_RANGE,
         "5 of timedelta64[s] have no length that could be told in timedelta64");
    says(try_ticks(krait_datetime(KRAIT_YEAR, 1), INT64_MAX, KRAIT_DAY, &out), KRAIT_E_RANGE,
         "9223372036854775807 of datetime64[Y] are too many for 64 bits of datetime64[D]");
    says(try_ticks(krait_datetime(KRAIT_MONTH, 1), INT64_MAX, KRAIT_DAY, &out), KRAIT_E_RANGE,
         "9223372036854775807 of datetime64[M] are too many for 64 bits of datetime64[D]");
}

/* -2^63 of the new unit would be NaT. */
static void none_becomes_nat(void **state) {
    int64_t out;
    (void)state;
    says(try_ticks(krait_timedelta(KRAIT_S, 1 << 30), -(INT64_C(1) << 33), KRAIT_S, &out), KRAIT_E_RANGE,
         "-8589934592 of timedelta64[1073741824s] are too many for 64 bits of timedelta64[s]");
    assert_true(ticks_of(krait_timedelta(KRAIT_S, 1), INT64_MIN + 1, KRAIT_S) == INT64_MIN + 1);
}

static void nat_is_nat_in_every_unit(void **state) {
    krait_value nat = krait_time(krait_datetime(KRAIT_GENERIC, 1), INT64_MIN);
    int64_t     out = 0;
    (void)state;
    for (uint8_t unit = KRAIT_GENERIC; unit <= KRAIT_AS; unit++)
        for (uint8_t other = KRAIT_GENERIC; other <= KRAIT_AS; other++) {
            assert_true(ticks_of(krait_datetime(unit, 25), INT64_MIN, other) == INT64_MIN);
            assert_true(ticks_of(krait_timedelta(unit, 1), INT64_MIN, other) == INT64_MIN);
        }
    good(krait_get_ticks(&nat, KRAIT_TIMEDELTA, KRAIT_NS, &out, &err)); /* pandas has one NaT for both */
    assert_true(out == INT64_MIN);
}

static void zero_is_zero(void **state) {
    (void)state;
    for (uint8_t unit = KRAIT_WEEK; unit <= KRAIT_AS; unit++)
        for (uint8_t other = KRAIT_WEEK; other <= KRAIT_AS; other++)
            assert_int_equal(ticks_of(krait_timedelta(unit, INT32_MAX), 0, other), 0);
    for (uint8_t other = KRAIT_YEAR; other <= KRAIT_AS; other++)
        assert_int_equal(ticks_of(krait_datetime(KRAIT_YEAR, INT32_MAX), 0, other), 0);
}

/* ---- random ones ------------------------------------------------------------------------------------------------- */

static uint64_t seed;

static uint64_t dice(void) {
    seed ^= seed << 13;
    seed ^= seed >> 7;
    return seed ^= seed << 17;
}

static int seeded(void **state) {
    const char *text = getenv("KRAIT_TEST_SEED");
    (void)state;
    seed = text ? strtoull(text, NULL, 0) : (uint64_t)time(NULL) * 2654435761u + 1;
    if (!seed) seed = 1;
    print_message("KRAIT_TEST_SEED=%" PRIu64 "\n", seed);
    return 0;
}

/* Of all sizes, and often a multiple of what could make it a whole number. */
static int64_t random_ticks(void) {
    static const int64_t round[] = { 1, 7, 60, 1000, 86400, 604800, 1000000000, 1000000000000000 };
    int64_t              ticks = (int64_t)(dice() >> (1 + dice() % 63));
    if (__builtin_mul_overflow(ticks, round[dice() % COUNT(round)], &ticks)) ticks = INT64_MAX;
    return dice() % 2 ? ticks : -ticks;
}

/* What stands in for krait's factors: nanosecond-sized steps, apart for whole seconds. */
static int64_t steps(int unit) {
    static const int64_t seconds[] = {
        [KRAIT_WEEK] = 604800, [KRAIT_DAY] = 86400, [KRAIT_HOUR] = 3600, [KRAIT_MINUTE] = 60, [KRAIT_S] = 1
    };
    int64_t parts = 1;
    if (unit <= KRAIT_S) return seconds[unit];
    for (int u = KRAIT_S; u < unit; u++) parts *= 1000;
    return parts;
}

/* Exactly, in 128 bits: 0 when it does not go up, 1 when it does not fit, 2 with the answer. */
static int reference(int64_t ticks, int64_t count, int from, int to, int64_t *out) {
    wide have = (wide)ticks * count;
    if (from <= KRAIT_S) { /* to seconds, then on */
        have *= steps(from);
        from = KRAIT_S;
    }
    while (from < KRAIT_AS && from < to) {
        have *= 1000;
        from++;
        if (have > (wide)INT64_MAX * 1000 || have < -(wide)INT64_MAX * 1000) return 1;
    }
    for (; from > KRAIT_S && from > to; from--) {
        if (have % 1000) return 0;
        have /= 1000;
    }
    if (to < KRAIT_S) {
        if (have % steps(to)) return 0;
        have /= steps(to);
    }
    if (have > INT64_MAX || have < -(wide)INT64_MAX) return 1;
    *out = (int64_t)have;
    return 2;
}

static void fixed_units_against_wide_arithmetic(void **state) {
    int seen[3] = { 0, 0, 0 };
    (void)state;
    for (int i = 0; i < 200000; i++) {
        uint8_t      from = (uint8_t)(KRAIT_WEEK + dice() % 11), to = (uint8_t)(KRAIT_WEEK + dice() % 11);
        int32_t      count = dice() % 2 ? 1 : (int32_t)(1 + dice() % INT32_MAX);
        int64_t      ticks = random_ticks(), expected = 0, got;
        krait_dtype  dtype = dice() % 2 ? krait_datetime(from, count) : krait_timedelta(from, count);
        int          how = reference(ticks, count, from, to, &expected);
        krait_status status = try_ticks(dtype, ticks, to, &got);
        seen[how]++;
        if ((how == 2) != !status || got != expected ||
            (status && !strstr(krait_error_message(err), how ? "too many" : "no whole number")))
            fail_msg("%" PRId64 " x %d of unit %d in %d: got %" PRId64 " %s, expected %" PRId64, ticks, (int)count,
                     from, to, got, krait_error_message(err), expected);
        krait_error_clear(&err);
    }
    for (int how = 0; how < 3; how++) assert_true(seen[how] > 1000); /* each outcome was tried */
}

static bool is_leap(int64_t year) {
    return year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
}

static void months_against_a_counted_calendar(void **state) {
    static const int length[] = { 31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31 };
    int64_t          days = 0;
    (void)state;
    for (int64_t month = 0; month < 12 * 9000; month++) { /* 1970 to beyond 9999 */
        int64_t year = 1970 + month / 12;
        assert_true(ticks_of(krait_datetime(KRAIT_MONTH, 1), month, KRAIT_DAY) == days);
        if (month % 12 == 0) assert_true(ticks_of(krait_datetime(KRAIT_YEAR, 1), month / 12, KRAIT_DAY) == days);
        days += length[month % 12] + (month % 12 == 1 && is_leap(year));
    }
    days = 0;
    for (int64_t back = 1; back < 12 * 4000; back++) { /* 1969 to before year -2000 */
        int64_t month = (12 - back % 12) % 12, year = 1969 - (back - 1) / 12;
        days -= length[month] + (month == 1 && is_leap(year < 0 ? year + 4000 : year));
        assert_true(ticks_of(krait_datetime(KRAIT_MONTH, 1), -back, KRAIT_DAY) == days);
    }
}

/* ---- readers ----------------------------------------------------------------------------------------------------- */

static void readers_check_and_explain(void **state) {
    krait_value      instant = krait_time_in(krait_datetime(KRAIT_MS, 1), 5, "Europe/Berlin"), wrong = instant;
    krait_value      number = krait_f64(1), span = krait_time(krait_timedelta(KRAIT_S, 1), 5);
    krait_time_parts parts;
    int64_t          ticks;
    (void)state;
    good(krait_get_time(&instant, &parts, &err));
    assert_int_equal(parts.ticks, 5);
    assert_int_equal(parts.dtype.unit, KRAIT_MS);
    assert_string_equal(parts.zone, "Europe/Berlin");
    says(krait_get_time(&number, &parts, &err), KRAIT_E_KIND, "value is float, expected a time");
    assert_null(parts.zone);
    says(krait_get_time(NULL, &parts, &err), KRAIT_E_ARGUMENT, "value is NULL");
    says(krait_get_time(&instant, NULL, &err), KRAIT_E_ARGUMENT, "out is NULL");
    says(krait_get_ticks(&instant, KRAIT_ANY, KRAIT_S, NULL, &err), KRAIT_E_ARGUMENT, "out is NULL");
    says(krait_get_ticks(&number, KRAIT_ANY, KRAIT_S, &ticks, &err), KRAIT_E_KIND, "value is float, expected a time");
    says(krait_get_ticks(&instant, KRAIT_TIMEDELTA, KRAIT_S, &ticks, &err), KRAIT_E_KIND,
         "value is a time of datetime64[ms], expected a duration");
    says(krait_get_ticks(&span, KRAIT_DATETIME, KRAIT_S, &ticks, &err), KRAIT_E_KIND,
         "value is a time of timedelta64[s], expected an instant");
    says(krait_get_ticks(&span, KRAIT_F64, KRAIT_S, &ticks, &err), KRAIT_E_ARGUMENT,
         "dtype code 12, expected KRAIT_DATETIME, KRAIT_TIMEDELTA or KRAIT_ANY");
    says(krait_get_ticks(&span, KRAIT_ANY, 14, &ticks, &err), KRAIT_E_ARGUMENT, "unit 14 is unknown, expected 0 to 13");
    says(krait_get_ticks(&span, KRAIT_ANY, -1, &ticks, &err), KRAIT_E_ARGUMENT, "unit -1 is unknown, expected 0 to 13");
    wrong.as.time.dtype.unit = 14;
    says(krait_get_time(&wrong, &parts, &err), KRAIT_E_ARGUMENT, "a time of unit 14, expected 0 to 13");
    wrong = krait_time(krait_datetime(KRAIT_S, 0), 1);
    says(krait_get_time(&wrong, &parts, &err), KRAIT_E_ARGUMENT,
         "a time that counts 0 of its unit, expected 1 to 2147483647");
    wrong = krait_time(krait_i64_type(), 1);
    says(krait_get_time(&wrong, &parts, &err), KRAIT_E_ARGUMENT,
         "a time of dtype int64, expected krait_datetime or krait_timedelta");
    wrong = krait_time(krait_datetime(KRAIT_GENERIC, 1), 1);
    says(krait_get_time(&wrong, &parts, &err), KRAIT_E_ARGUMENT,
         "an instant without a unit; only NaT and durations may lack it");
    wrong = krait_time_in(krait_timedelta(KRAIT_S, 1), 1, "UTC");
    says(krait_get_time(&wrong, &parts, &err), KRAIT_E_ARGUMENT,
         "a duration in time zone 'UTC'; only instants have one");
}

static void errors_stick(void **state) {
    krait_value      span = krait_time(krait_timedelta(KRAIT_S, 1), 5);
    krait_time_parts parts = { .ticks = 9 };
    int64_t          ticks = 9;
    (void)state;
    krait__fail(&err, KRAIT_E_SHAPE, "before");
    assert_int_equal(krait_get_time(&span, &parts, &err), KRAIT_E_SHAPE);
    assert_int_equal(krait_get_ticks(&span, KRAIT_ANY, KRAIT_S, &ticks, &err), KRAIT_E_SHAPE);
    assert_int_equal(parts.ticks, 0);
    assert_int_equal(ticks, 0);
    says(krait_error_status(err), KRAIT_E_SHAPE, "before");
    assert_int_equal(krait_get_ticks(&span, KRAIT_DATETIME, KRAIT_S, &ticks, NULL), KRAIT_E_KIND);
}

/* ---- copies ------------------------------------------------------------------------------------------------------ */

static void times_and_decimals_are_copied(void **state) {
    char             zone[] = "Asia/Tokyo", digits[] = "12.50";
    krait_value      items[] = { krait_time_in(krait_datetime(KRAIT_US, 1), -7, zone),
                                 krait_time(krait_timedelta(KRAIT_S, 25), 4), krait_decimal(digits), krait_decimal(NULL) };
    krait_value      copy;
    krait_time_parts parts;
    const char      *text;
    size_t           size;
    uint64_t         blocks = krait__mem_blocks();
    (void)state;
    good(krait_value_copy(&items[0], &copy, &err));
    memset(zone, 'x', sizeof zone - 1);
    good(krait_get_time(&copy, &parts, &err));
    assert_string_equal(parts.zone, "Asia/Tokyo");
    assert_int_equal(parts.ticks, -7);
    krait_value_clear(&copy);
    good(krait_value_copy(&items[1], &copy, &err));
    good(krait_get_time(&copy, &parts, &err));
    assert_null(parts.zone);
    assert_int_equal(parts.dtype.of.count, 25);
    krait_value_clear(&copy);
    good(krait_value_copy(&items[2], &copy, &err));
    memset(digits, 'x', sizeof digits - 1);
    good(krait_get_text(&copy, &text, &size, &err));
    assert_string_equal(text, "12.50");
    assert_int_equal(size, 5);
    assert_int_equal(copy.kind, KRAIT_KIND_DECIMAL);
    krait_value_clear(&copy);
    says(krait_value_copy(&items[3], &copy, &err), KRAIT_E_ARGUMENT, "text is NULL, expected 0 bytes");
    assert_int_equal(krait__mem_blocks(), blocks);
}

#ifdef KRAIT_FAULTS
static void copies_survive_want_of_memory(void **state) {
    krait_value items[] = { krait_time_in(krait_datetime(KRAIT_US, 1), -7, "UTC"), krait_decimal("1") };
    uint64_t    blocks = krait__mem_blocks();
    (void)state;
    for (size_t i = 0; i < COUNT(items); i++) {
        krait_value copy;
        krait__mem_fail_at(1);
        assert_int_equal(krait_value_copy(&items[i], &copy, &err), KRAIT_E_NOMEM);
        krait__mem_fail_at(0);
        assert_int_equal(copy.kind, KRAIT_KIND_NONE);
        krait_error_clear(&err);
        assert_int_equal(krait__mem_blocks(), blocks);
    }
}
#endif

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(known_conversions),
        cmocka_unit_test(what_cannot_be_exact_is_refused),
        cmocka_unit_test(none_becomes_nat),
        cmocka_unit_test(nat_is_nat_in_every_unit),
        cmocka_unit_test(zero_is_zero),
        cmocka_unit_test(fixed_units_against_wide_arithmetic),
        cmocka_unit_test(months_against_a_counted_calendar),
        cmocka_unit_test(readers_check_and_explain),
        cmocka_unit_test(errors_stick),
        cmocka_unit_test(times_and_decimals_are_copied),
#ifdef KRAIT_FAULTS
        cmocka_unit_test(copies_survive_want_of_memory),
#endif
    };
    return cmocka_run_group_tests(tests, seeded, NULL);
}
