/* Times and decimals one by one: ticks of every unit into Python and back, zones, what pandas and the datetime module
 * have, and what cannot be told exactly. Columns of times are the matter of the table tests. KRAIT_TEST_SEED repeats a
 * run of the random tests. */
#include "check.h"

#ifdef KRAIT_FAULTS
#include "mem.h"
#endif

static const char module[] =
    "import datetime, decimal, zoneinfo\n"
    "import numpy\n"
    "import pandas\n"
    "from datetime import timedelta\n"
    "own_units = hasattr(pandas.Timestamp(0), 'unit')\n"
    "class Zone(datetime.tzinfo):\n" /* as pytz has it: a name in .zone */
    "    zone = 'Mars/Base'\n"
    "    def utcoffset(self, when): return timedelta(hours=-3, microseconds=1)\n"
    "class Nameless(datetime.tzinfo):\n"
    "    def utcoffset(self, when): return timedelta(minutes=-90)\n"
    "class Naive(datetime.tzinfo):\n"
    "    def utcoffset(self, when): return None\n"
    "class Later(datetime.datetime): pass\n"
    "class Loud(decimal.Decimal): pass\n"
    "def make(expression):\n"
    "    return eval(expression)\n"
    "def identity(x):\n"
    "    return x\n"
    "def scalar(x):\n"
    "    return f'{type(x).__name__} {x.dtype.str[1:]} {int(x.view(\"i8\"))}'\n"
    "def stamp(x):\n"
    "    unit = getattr(x, 'unit', 'ns')\n"
    "    return f'{type(x).__name__} {x.isoformat()} {x.tz} {unit} {int(x.asm8.view(\"i8\"))}'\n"
    "def fold(x):\n"
    "    return f'{x:%H:%M} {x.fold}'\n"
    "def is_nat(x):\n"
    "    return x is pandas.NaT\n"
    "def kind(x):\n"
    "    return f'{type(x).__name__} {x}'\n"
    "kept = []\n"
    "def keep(x):\n"
    "    kept.append(x)\n"
    "    return x\n"
    "def same(x):\n"
    "    return x is kept.pop()\n"
    "def lax():\n"
    "    decimal.getcontext().traps[decimal.InvalidOperation] = False\n"
    "def numpys(code, unit, count, ticks, to):\n" /* ticks of another unit by numpy, or None where that is not exact */
    "    have = numpy.array([ticks], 'i8').view(f'{code}8[{count}{unit}]')\n"
    "    try:\n"
    "        then = have.astype(f'{code}8[{to}]')\n"
    "        exact = then.astype(have.dtype)[0] == have[0] and abs(int(then.view('i8')[0])) < 2 ** 62\n"
    "    except OverflowError:\n"
    "        return None\n"
    "    return int(then.view('i8')[0]) if exact else None\n";

static const char units[][8] = { "generic", "Y", "M", "W", "D", "h", "m", "s", "ms", "us", "ns", "ps", "fs", "as" };

static bool own_units; /* pandas has units of its own: since 2 */

/* text = function(value) */
static void tell(const char *function, krait_value value, char *text, size_t size) {
    krait_error *err = NULL;
    krait_value  out;
    const char  *got;
    call1(function, value, 0, &out, &err);
    krait_get_text(&out, &got, NULL, &err);
    assert_good(err);
    snprintf(text, size, "%s", got);
    krait_value_clear(&out);
}

static void assert_told(const char *function, krait_value value, const char *expected) {
    char text[512];
    tell(function, value, text, sizeof text);
    assert_string_equal(text, expected);
}

static krait_value make(const char *expression) {
    krait_error *err = NULL;
    krait_value  out;
    call1("times:make", krait_str(expression), 0, &out, &err);
    assert_good(err);
    return out;
}

static void assert_refused(krait_value value, krait_status status, const char *part) {
    krait_error *err = NULL;
    krait_value  out;
    call1("times:identity", value, 0, &out, &err);
    assert_int_equal(out.kind, KRAIT_KIND_NONE);
    assert_string_equal(krait_error_step(err), "convert argument 1");
    assert_error(err, status, part);
}

/* ---- into Python ------------------------------------------------------------------------------------------------- */

static void every_unit_and_multiple_arrives_and_returns(void **state) {
    static const int32_t counts[] = { 1, 2, 25, INT32_MAX };
    static const int64_t ticks[] = { 0, 1, -1, 1700000000, INT64_MAX, INT64_MIN + 1, INT64_MIN };
    krait_metrics        before = at_rest();
    (void)state;
    for (uint8_t unit = KRAIT_YEAR; unit <= KRAIT_AS; unit++)
        for (size_t c = 0; c < COUNT(counts); c++)
            for (size_t t = 0; t < COUNT(ticks); t++)
                for (uint8_t code = KRAIT_DATETIME; code <= KRAIT_TIMEDELTA; code++) {
                    krait_dtype dtype = krait_dtype_make_(code, unit, 8, counts[c]);
                    krait_value out;
                    krait_error *err = NULL;
                    krait_time_parts parts;
                    char             expected[96], count[16] = "";
                    if (counts[c] > 1) snprintf(count, sizeof count, "%d", (int)counts[c]);
                    snprintf(expected, sizeof expected, "%s %c8[%s%s] %" PRId64,
                             code == KRAIT_DATETIME ? "datetime64" : "timedelta64", code == KRAIT_DATETIME ? 'M' : 'm',
                             count, units[unit], ticks[t]);
                    assert_told("times:scalar", krait_time(dtype, ticks[t]), expected);
                    call1("times:identity", krait_time(dtype, ticks[t]), 0, &out, &err);
                    krait_get_time(&out, &parts, &err);
                    assert_good(err);
                    assert_memory_equal(&parts.dtype, &dtype, sizeof dtype);
                    assert_true(parts.ticks == ticks[t]);
                    assert_null(parts.zone);
                    krait_value_clear(&out);
                }
    assert_nothing_left(&before);
}

static void without_a_unit(void **state) {
    (void)state;
    assert_told("times:scalar", krait_time(krait_datetime(KRAIT_GENERIC, 1), INT64_MIN),
                "datetime64 M8 -9223372036854775808");
    assert_refused(krait_time(krait_datetime(KRAIT_GENERIC, 1), 1), KRAIT_E_ARGUMENT, "an instant without a unit");
}

static void instants_in_a_zone_are_timestamps(void **state) {
    const struct {
        krait_dtype dtype;
        int64_t     ticks;
        const char *zone, *with_units, *with_ns;
    } rows[] = {
        { krait_datetime(KRAIT_S, 1), 1700000000, "Europe/Berlin",
          "Timestamp 2023-11-14T23:13:20+01:00 Europe/Berlin s 1700000000",
          "Timestamp 2023-11-14T23:13:20+01:00 Europe/Berlin ns 1700000000000000000" },
        { krait_datetime(KRAIT_MS, 1), -1, "America/New_York",
          "Timestamp 1969-12-31T18:59:59.999000-05:00 America/New_York ms -1",
          "Timestamp 1969-12-31T18:59:59.999000-05:00 America/New_York ns -1000000" },
        { krait_datetime(KRAIT_US, 1), 1, "UTC", "Timestamp 1970-01-01T00:00:00.000001+00:00 UTC us 1",
          "Timestamp 1970-01-01T00:00:00.000001+00:00 UTC ns 1000" },
        { krait_datetime(KRAIT_NS, 1), 1, "UTC+02:00", "Timestamp 1970-01-01T02:00:00.000000001+02:00 UTC+02:00 ns 1",
          "Timestamp 1970-01-01T02:00:00.000000001+02:00 UTC+02:00 ns 1" },
        { krait_datetime(KRAIT_DAY, 1), 1, "-00:30", "Timestamp 1970-01-01T23:30:00-00:30 UTC-00:30 s 86400",
          "Timestamp 1970-01-01T23:30:00-00:30 UTC-00:30 ns 86400000000000" },
        { krait_datetime(KRAIT_MONTH, 1), 13, "UTC", "Timestamp 1971-02-01T00:00:00+00:00 UTC s 34214400",
          "Timestamp 1971-02-01T00:00:00+00:00 UTC ns 34214400000000000" },
        { krait_datetime(KRAIT_MS, 500), 3, "UTC", "Timestamp 1970-01-01T00:00:01.500000+00:00 UTC ms 1500",
          "Timestamp 1970-01-01T00:00:01.500000+00:00 UTC ns 1500000000" },
        { krait_datetime(KRAIT_PS, 1), 7000, "UTC", "Timestamp 1970-01-01T00:00:00.000000007+00:00 UTC ns 7",
          "Timestamp 1970-01-01T00:00:00.000000007+00:00 UTC ns 7" },
    };
    (void)state;
    for (size_t i = 0; i < COUNT(rows); i++)
        for (int twice = 0; twice < 2; twice++) /* a zone is looked up once */
            assert_told("times:stamp", krait_time_in(rows[i].dtype, rows[i].ticks, rows[i].zone),
                        own_units ? rows[i].with_units : rows[i].with_ns);
}

/* The hour that comes twice in Berlin, 27 October 2024. */
static void both_of_the_double_hours(void **state) {
    static const int64_t first = 1729989000, second = 1729992600; /* 00:30 and 01:30 UTC */
    (void)state;
    assert_told("times:fold", krait_time_in(krait_datetime(KRAIT_S, 1), first, "Europe/Berlin"), "02:30 0");
    assert_told("times:fold", krait_time_in(krait_datetime(KRAIT_S, 1), second, "Europe/Berlin"), "02:30 1");
}

/* pandas drops the seconds of an offset. */
static void offsets_with_seconds(void **state) {
    krait_error     *err = NULL;
    krait_value      out;
    krait_time_parts parts;
    (void)state;
    call1("times:identity", krait_time_in(krait_datetime(KRAIT_S, 1), 0, "UTC+00:53:28"), 0, &out, &err);
    krait_get_time(&out, &parts, &err);
    assert_good(err);
    assert_string_equal(parts.zone, "UTC+00:53:28");
    assert_int_equal(parts.ticks, 0);
    krait_value_clear(&out);
}

static void wrong_zones_are_named(void **state) {
    static const char *const zones[] = { "Nowhere/City", "", "../etc/passwd", "Europe", "UTC+25:00", "Z" };
    (void)state;
    for (size_t i = 0; i < COUNT(zones); i++) {
        char expected[64];
        snprintf(expected, sizeof expected, "time zone '%s' is not known", zones[i]);
        assert_refused(krait_time_in(krait_datetime(KRAIT_S, 1), 0, zones[i]), KRAIT_E_ARGUMENT, expected);
    }
    assert_refused(krait_time_in(krait_datetime(KRAIT_S, 1), 0, "\xff"), KRAIT_E_ENCODING, "utf-8");
    assert_refused(krait_time_in(krait_timedelta(KRAIT_S, 1), 0, "UTC"), KRAIT_E_ARGUMENT, "a duration in time zone");
}

static void what_pandas_cannot_hold_is_refused(void **state) {
    (void)state;
    assert_refused(krait_time_in(krait_datetime(KRAIT_PS, 1), 7001, "UTC"), KRAIT_E_RANGE,
                   "7001 of datetime64[ps] are no whole number of datetime64[ns]");
    assert_refused(krait_time_in(krait_datetime(KRAIT_DAY, 1), INT64_MAX, "UTC"), KRAIT_E_RANGE,
                   "are too many for 64 bits of datetime64[s]");
    assert_refused(krait_time_in(krait_datetime(KRAIT_S, 1), INT64_C(1) << 60, "Europe/Berlin"), KRAIT_E_RANGE,
                   "in time zone Europe/Berlin is no Timestamp of pandas");
    assert_refused(krait_time_in(krait_datetime(KRAIT_NS, 1), INT64_MAX, "Europe/Berlin"), KRAIT_E_RANGE,
                   "in time zone Europe/Berlin is no Timestamp of pandas");
    assert_refused(krait_time_in(krait_datetime(KRAIT_S, 1), 253402300799, "Europe/Berlin"), KRAIT_E_RANGE,
                   "9999-12-31T23:59:59 in time zone Europe/Berlin");
}

/* The year 5138: where pandas has only nanoseconds, that is too far. */
static void far_years_need_units(void **state) {
    krait_value far_off = krait_time_in(krait_datetime(KRAIT_S, 1), 100000000000, "UTC");
    (void)state;
    if (own_units) assert_told("times:stamp", far_off, "Timestamp 5138-11-16T09:46:40+00:00 UTC s 100000000000");
    else assert_refused(far_off, KRAIT_E_RANGE, "5138-11-16T09:46:40 in time zone UTC is no Timestamp of pandas 1");
}

static void nat_in_a_zone(void **state) {
    krait_error *err = NULL;
    krait_value  out;
    bool         nat = false;
    (void)state;
    call1("times:is_nat", krait_time_in(krait_datetime(KRAIT_US, 1), INT64_MIN, "UTC"), 0, &out, &err);
    krait_get_bool(&out, &nat, &err);
    assert_good(err);
    assert_true(nat);
    assert_refused(krait_time_in(krait_datetime(KRAIT_US, 1), INT64_MIN, "Nowhere"), KRAIT_E_ARGUMENT, "'Nowhere'");
}

static void times_made_badly_are_refused(void **state) {
    krait_value wrong = krait_time(krait_i64_type(), 1);
    (void)state;
    assert_refused(wrong, KRAIT_E_ARGUMENT, "a time of dtype int64");
    assert_refused(krait_time(krait_datetime(14, 1), 1), KRAIT_E_ARGUMENT, "a time of unit 14");
    assert_refused(krait_time(krait_datetime(KRAIT_S, 0), 1), KRAIT_E_ARGUMENT, "a time that counts 0");
    wrong = krait_time(krait_datetime(KRAIT_S, 1), 1);
    wrong.as.time.dtype.swapped = 1;
    assert_refused(wrong, KRAIT_E_ARGUMENT, "expected krait_datetime");
    krait_arg    arg = krait_with(krait_pos(krait_time(krait_datetime(KRAIT_S, 1), 1)), KRAIT_COPY);
    krait_error *err = NULL;
    call("times:identity", &arg, 1, NULL, &err);
    assert_error(err, KRAIT_E_UNSUPPORTED, "for arrays and tables only");
}

static void times_within_lists_and_maps(void **state) {
    const krait_value   items[] = { krait_time(krait_timedelta(KRAIT_S, 1), 90), krait_decimal("1.50"),
                                    krait_time_in(krait_datetime(KRAIT_S, 1), 0, "Asia/Tokyo") };
    krait_value         list = krait_make_(KRAIT_KIND_LIST), out;
    krait_error        *err = NULL;
    const krait_value  *item;
    krait_time_parts    parts;
    const char         *text;
    (void)state;
    list.as.list.items = (krait_value *)(uintptr_t)items;
    list.as.list.keys = NULL;
    list.as.list.count = COUNT(items);
    call1("times:identity", list, 0, &out, &err);
    krait_list_at(&out, 0, &item, &err);
    krait_get_time(item, &parts, &err);
    assert_good(err);
    assert_int_equal(parts.ticks, 90);
    krait_list_at(&out, 1, &item, &err);
    krait_get_text(item, &text, NULL, &err);
    assert_good(err);
    assert_string_equal(text, "1.50");
    krait_list_at(&out, 2, &item, &err);
    krait_get_time(item, &parts, &err);
    assert_good(err);
    assert_string_equal(parts.zone, "Asia/Tokyo");
    krait_value_clear(&out);
}

/* ---- out of Python ----------------------------------------------------------------------------------------------- */

typedef struct row {
    const char *expression;
    int         code, unit;
    int64_t     count, ticks;
    const char *zone;
} row;

static void check_row(const row *one) {
    krait_value      out = make(one->expression);
    krait_error     *err = NULL;
    krait_time_parts parts;
    char             name[32];
    krait_get_time(&out, &parts, &err);
    assert_good(err);
    krait_dtype_name(parts.dtype, name, sizeof name);
    if (parts.dtype.code != one->code || parts.dtype.unit != one->unit || parts.dtype.of.count != one->count ||
        parts.dtype.item_size != 8 || parts.ticks != one->ticks)
        fail_msg("%s: %" PRId64 " of %s, expected %" PRId64 " of unit %d", one->expression, parts.ticks, name,
                 one->ticks, one->unit);
    if (one->zone) assert_string_equal(parts.zone ? parts.zone : "none", one->zone);
    else assert_null(parts.zone);
    krait_value_clear(&out);
}

#define INSTANT(text, unit, ticks, zone) { text, KRAIT_DATETIME, unit, 1, ticks, zone }
#define SPAN(text, unit, ticks) { text, KRAIT_TIMEDELTA, unit, 1, ticks, NULL }

static void what_the_datetime_module_has(void **state) {
    static const row rows[] = {
        INSTANT("datetime.datetime(2024, 2, 29, 23, 59, 59, 999999)", KRAIT_US, 1709251199999999, NULL),
        INSTANT("datetime.datetime(1, 1, 1)", KRAIT_US, -62135596800000000, NULL),
        INSTANT("datetime.datetime.max", KRAIT_US, 253402300799999999, NULL),
        INSTANT("datetime.datetime(1969, 12, 31, 23, 59, 59, 999999)", KRAIT_US, -1, NULL),
        INSTANT("datetime.datetime(2024, 1, 1, tzinfo=datetime.timezone.utc)", KRAIT_US, 1704067200000000, "UTC"),
        INSTANT("datetime.datetime(2024, 1, 1, tzinfo=zoneinfo.ZoneInfo('UTC'))", KRAIT_US, 1704067200000000, "UTC"),
        INSTANT("datetime.datetime(2024, 7, 1, tzinfo=zoneinfo.ZoneInfo('Europe/Berlin'))", KRAIT_US, 1719784800000000,
                "Europe/Berlin"),
        INSTANT("datetime.datetime(2024, 10, 27, 2, 30, tzinfo=zoneinfo.ZoneInfo('Europe/Berlin'))", KRAIT_US,
                1729989000000000, "Europe/Berlin"),
        INSTANT("datetime.datetime(2024, 10, 27, 2, 30, fold=1, tzinfo=zoneinfo.ZoneInfo('Europe/Berlin'))", KRAIT_US,
                1729992600000000, "Europe/Berlin"),
        INSTANT("datetime.datetime(2024, 1, 1, tzinfo=datetime.timezone(timedelta(hours=2)))", KRAIT_US,
                1704060000000000, "UTC+02:00"),
        INSTANT("datetime.datetime(2024, 1, 1, tzinfo=datetime.timezone(timedelta(hours=2), 'CEST'))", KRAIT_US,
                1704060000000000, "UTC+02:00"),
        INSTANT("datetime.datetime(2024, 1, 1, tzinfo=Zone())", KRAIT_US, 1704077999999999, "Mars/Base"),
        INSTANT("datetime.datetime(2024, 1, 1, tzinfo=Nameless())", KRAIT_US, 1704072600000000, "UTC-01:30"),
        INSTANT("datetime.datetime(2024, 1, 1, tzinfo=Naive())", KRAIT_US, 1704067200000000, NULL),
        INSTANT("datetime.datetime(1, 1, 1, tzinfo=datetime.timezone(timedelta(hours=23)))", KRAIT_US,
                -62135679600000000, "UTC+23:00"), /* in UTC the year 0 */
        INSTANT("Later(2024, 1, 1)", KRAIT_US, 1704067200000000, NULL),
        INSTANT("datetime.date(2024, 1, 1)", KRAIT_DAY, 19723, NULL),
        INSTANT("datetime.date.min", KRAIT_DAY, -719162, NULL),
        INSTANT("datetime.date.max", KRAIT_DAY, 2932896, NULL),
        SPAN("timedelta(days=-1, microseconds=1)", KRAIT_US, -86399999999),
        SPAN("timedelta(microseconds=2**63 - 1)", KRAIT_US, INT64_MAX),
        SPAN("timedelta(microseconds=1 - 2**63)", KRAIT_US, INT64_MIN + 1),
        SPAN("timedelta(0)", KRAIT_US, 0),
    };
    static const char *const too_long[] = { "timedelta.max", "timedelta.min", "timedelta(microseconds=2**63)",
                                            "timedelta(microseconds=-2**63)" };
    krait_value              out;
    (void)state;
    for (size_t i = 0; i < COUNT(rows); i++) check_row(&rows[i]);
    for (size_t i = 0; i < COUNT(too_long); i++) {
        krait_error *err = NULL;
        call1("times:make", krait_str(too_long[i]), 0, &out, &err);
        assert_int_equal(out.kind, KRAIT_KIND_NONE);
        assert_string_equal(krait_error_step(err), "convert result");
        assert_error(err, KRAIT_E_RANGE, "too long for 64 bits of microseconds");
    }
    out = make("datetime.time(1, 2)");
    assert_int_equal(out.kind, KRAIT_KIND_OBJECT);
    krait_value_clear(&out);
}

static void what_pandas_has(void **state) {
    static const row rows[] = {
        INSTANT("pandas.Timestamp(1, unit='ns')", KRAIT_NS, 1, NULL),
        INSTANT("pandas.Timestamp(5, unit='ns', tz='Europe/Berlin')", KRAIT_NS, 5, "Europe/Berlin"),
        INSTANT("pandas.Timestamp(-9223372036854775807, unit='ns', tz='UTC')", KRAIT_NS, INT64_MIN + 1, "UTC"),
        INSTANT("pandas.Timestamp('2024-10-27 00:30:00.000000001', tz='UTC').tz_convert('Europe/Berlin')", KRAIT_NS,
                1729989000000000001, "Europe/Berlin"),
        INSTANT("pandas.Timestamp('2024-10-27 01:30:00.000000001', tz='UTC').tz_convert('Europe/Berlin')", KRAIT_NS,
                1729992600000000001, "Europe/Berlin"),
        INSTANT("pandas.Timestamp('2024-01-01 00:00:00.000000001+05:30')", KRAIT_NS, 1704047400000000001, "UTC+05:30"),
        INSTANT("pandas.NaT", KRAIT_GENERIC, INT64_MIN, NULL),
        SPAN("pandas.Timedelta(-3, unit='ns')", KRAIT_NS, -3),
        SPAN("pandas.Timedelta('1 days 00:00:00.000000001')", KRAIT_NS, 86400000000001),
        INSTANT("pandas.Series(pandas.to_datetime(['2024-01-01 00:00:00.000000001'])).max()", KRAIT_NS,
                1704067200000000001, NULL),
        INSTANT("pandas.Series([pandas.NaT]).max()", KRAIT_GENERIC, INT64_MIN, NULL),
    };
    static const row with_units[] = {
        INSTANT("pandas.Timestamp(7, unit='s').as_unit('s')", KRAIT_S, 7, NULL),
        INSTANT("pandas.Timestamp(7, unit='ms', tz='Asia/Tokyo').as_unit('ms')", KRAIT_MS, 7, "Asia/Tokyo"),
        INSTANT("pandas.Timestamp(7, unit='us').as_unit('us')", KRAIT_US, 7, NULL),
        SPAN("pandas.Timedelta(7, unit='s').as_unit('s')", KRAIT_S, 7),
        SPAN("pandas.Timedelta(7, unit='ms').as_unit('ms')", KRAIT_MS, 7),
    };
    (void)state;
    for (size_t i = 0; i < COUNT(rows); i++) check_row(&rows[i]);
    for (size_t i = 0; own_units && i < COUNT(with_units); i++) check_row(&with_units[i]);
}

static void what_numpy_has(void **state) {
    static const row rows[] = {
        INSTANT("numpy.datetime64('2024-01-01')", KRAIT_DAY, 19723, NULL),
        INSTANT("numpy.datetime64('2024')", KRAIT_YEAR, 54, NULL),
        INSTANT("numpy.datetime64('NaT')", KRAIT_GENERIC, INT64_MIN, NULL),
        INSTANT("numpy.datetime64('NaT', 'ns')", KRAIT_NS, INT64_MIN, NULL),
        { "numpy.datetime64(4, '25s')", KRAIT_DATETIME, KRAIT_S, 25, 4, NULL },
        { "numpy.timedelta64(-4, '7D')", KRAIT_TIMEDELTA, KRAIT_DAY, 7, -4, NULL },
        SPAN("numpy.timedelta64(5, 'as')", KRAIT_AS, 5),
        SPAN("numpy.timedelta64('NaT', 'D')", KRAIT_DAY, INT64_MIN),
        INSTANT("numpy.array(['2024-01-01'], '>M8[D]')[0]", KRAIT_DAY, 19723, NULL),
        INSTANT("numpy.array(['2024-01-01', '2024-01-03'], 'M8[ns]').max()", KRAIT_NS, 1704240000000000000, NULL),
        { "numpy.array([3, 5], 'm8[30m]').sum()", KRAIT_TIMEDELTA, KRAIT_MINUTE, 30, 8, NULL },
    };
    (void)state;
    for (size_t i = 0; i < COUNT(rows); i++) check_row(&rows[i]);
}

/* A value that came from Python stands for its object, and its text is its own. */
static void times_are_passed_on_and_copied(void **state) {
    krait_metrics    before = at_rest();
    krait_error     *err = NULL;
    krait_value      out, copy, answer;
    krait_time_parts parts;
    bool             same = false;
    (void)state;
    call1("times:make", krait_str("keep(pandas.Timestamp(5, unit='ns', tz='Europe/Berlin'))"), 0, &out, &err);
    call1("times:same", krait_borrow(&out), 0, &answer, &err);
    krait_get_bool(&answer, &same, &err);
    assert_good(err);
    assert_true(same);
    krait_value_copy(&out, &copy, &err);
    krait_value_clear(&out);
    krait_gc(&err);
    krait_get_time(&copy, &parts, &err);
    assert_good(err);
    assert_string_equal(parts.zone, "Europe/Berlin");
    assert_told("times:stamp", krait_borrow(&copy),
                "Timestamp 1970-01-01T01:00:00.000000005+01:00 Europe/Berlin ns 5");
    krait_value_clear(&copy);
    assert_nothing_left(&before);
}

/* ---- decimals ---------------------------------------------------------------------------------------------------- */

static void decimals_both_ways(void **state) {
    static const char *const digits[] = { "12.50", "-0", "1E+400", "NaN", "-Infinity", "0.1000000000000000000000000001",
                                          "123456789012345678901234567890123456789.5" };
    krait_metrics            before = at_rest();
    (void)state;
    for (size_t i = 0; i < COUNT(digits); i++) {
        krait_error *err = NULL;
        krait_value  out;
        const char  *text;
        char         expected[96];
        size_t       size;
        snprintf(expected, sizeof expected, "Decimal %s", digits[i]);
        assert_told("times:kind", krait_decimal(digits[i]), expected);
        call1("times:identity", krait_decimal(digits[i]), 0, &out, &err);
        krait_get_text(&out, &text, &size, &err);
        assert_good(err);
        assert_int_equal(out.kind, KRAIT_KIND_DECIMAL);
        assert_string_equal(text, digits[i]);
        assert_int_equal(size, strlen(digits[i]));
        krait_value_clear(&out);
    }
    krait_value loud = make("Loud('7')");
    assert_int_equal(loud.kind, KRAIT_KIND_DECIMAL);
    assert_told("times:kind", krait_borrow(&loud), "Loud 7");
    krait_value_clear(&loud);
    assert_nothing_left(&before);
}

static void wrong_digits_are_named(void **state) {
    krait_error *err = NULL;
    (void)state;
    for (int lax = 0; lax < 2; lax++) { /* a context that traps nothing would make NaN of them */
        assert_refused(krait_decimal("12,50"), KRAIT_E_ARGUMENT, "'12,50' is no decimal number");
        assert_refused(krait_decimal(""), KRAIT_E_ARGUMENT, "'' is no decimal number");
        call("times:lax", NULL, 0, NULL, &err);
        assert_good(err);
    }
    assert_refused(krait_decimal(NULL), KRAIT_E_ARGUMENT, "the digits are NULL");
    assert_refused(krait_decimal("\xff"), KRAIT_E_ENCODING, "utf-8");
}

/* ---- against numpy ----------------------------------------------------------------------------------------------- */

static uint64_t seed;

static uint64_t dice(void) {
    seed ^= seed << 13;
    seed ^= seed >> 7;
    return seed ^= seed << 17;
}

/* Where numpy's conversion is exact, krait_get_ticks gives the same. */
static void ticks_as_numpy_has_them(void **state) {
    krait_error *err = NULL;
    krait_func  *numpys = krait_func_new("times:numpys", &err);
    int          exact = 0;
    (void)state;
    print_message("KRAIT_TEST_SEED=%" PRIu64 "\n", seed);
    for (int i = 0; i < 3000; i++) {
        uint8_t     from = (uint8_t)(KRAIT_YEAR + dice() % 13), to = (uint8_t)(KRAIT_WEEK + dice() % 11);
        int64_t     count = (int64_t)(1 + dice() % 40), ours = 0, theirs = 0;
        int64_t     ticks = (int64_t)(dice() >> (8 + dice() % 55)) * (dice() % 2 ? 1 : -1);
        krait_value value = krait_time(krait_datetime(from, (int32_t)count), ticks), out;
        krait_arg   args[] = { krait_pos(krait_str("M")), krait_pos(krait_str(units[from])), krait_pos(krait_i64(count)),
                               krait_pos(krait_i64(ticks)), krait_pos(krait_str(units[to])) };
        if (from <= KRAIT_MONTH && (ticks > 100000 || ticks < -100000)) continue; /* numpy overflows in silence */
        krait_call(numpys, args, 5, NULL, &out, &err);
        assert_good(err);
        if (out.kind == KRAIT_KIND_NONE) continue;
        krait_get_i64(&out, &theirs, &err);
        krait_get_ticks(&value, KRAIT_DATETIME, to, &ours, &err);
        if (err && krait_error_status(err) == KRAIT_E_RANGE && strstr(krait_error_message(err), "too many")) {
            krait_error_clear(&err); /* and so it did here, into a number that came back the same */
            continue;
        }
        assert_good(err);
        if (ours != theirs)
            fail_msg("%" PRId64 " x %" PRId64 "%s in %s: %" PRId64 ", numpy has %" PRId64, ticks, count, units[from],
                     units[to], ours, theirs);
        exact++;
    }
    assert_true(exact > 300);
    krait_func_unref(numpys);
}

/* ---- want of memory ---------------------------------------------------------------------------------------------- */

#ifdef KRAIT_FAULTS
static void every_allocation_fails_once(void **state) {
    static const char *const made[] = { "pandas.Timestamp(5, unit='ns', tz='Europe/Berlin')", "decimal.Decimal('1.5')",
                                        "[numpy.datetime64(1, 's'), timedelta(1)]" };
    krait_metrics            before = at_rest();
    (void)state;
    for (size_t i = 0; i < COUNT(made); i++) {
        krait_error *err = NULL;
        krait_value  out = make(made[i]), again;
        bool         reached = true;
        for (uint64_t n = 1; reached; n++) {
            krait__mem_fail_at(n);
            call1("times:make", krait_str(made[i]), 0, &again, &err);
            reached = krait__mem_count() >= n;
            krait__mem_fail_at(0);
            if (reached) assert_int_equal(krait_error_status(err), KRAIT_E_NOMEM);
            if (reached) assert_int_equal(again.kind, KRAIT_KIND_NONE);
            krait_error_clear(&err);
            krait_value_clear(&again);
        }
        krait_value_clear(&out);
    }
    assert_nothing_left(&before);
}
#endif

static int set_up(void **state) {
    const char  *text = getenv("KRAIT_TEST_SEED");
    krait_error *err = NULL;
    krait_value  out;
    if (begin(state)) return -1;
    seed = text ? strtoull(text, NULL, 0) : (uint64_t)time(NULL) * 2654435761u + 1;
    krait_module_from_source("times", module, &err);
    call1("times:make", krait_str("own_units"), 0, &out, &err);
    krait_get_bool(&out, &own_units, &err);
    if (err) fprintf(stderr, "%s\n", krait_error_message(err));
    return err ? -1 : 0;
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_unit_and_multiple_arrives_and_returns),
        cmocka_unit_test(without_a_unit),
        cmocka_unit_test(instants_in_a_zone_are_timestamps),
        cmocka_unit_test(both_of_the_double_hours),
        cmocka_unit_test(offsets_with_seconds),
        cmocka_unit_test(wrong_zones_are_named),
        cmocka_unit_test(what_pandas_cannot_hold_is_refused),
        cmocka_unit_test(far_years_need_units),
        cmocka_unit_test(nat_in_a_zone),
        cmocka_unit_test(times_made_badly_are_refused),
        cmocka_unit_test(times_within_lists_and_maps),
        cmocka_unit_test(what_the_datetime_module_has),
        cmocka_unit_test(what_pandas_has),
        cmocka_unit_test(what_numpy_has),
        cmocka_unit_test(times_are_passed_on_and_copied),
        cmocka_unit_test(decimals_both_ways),
        cmocka_unit_test(wrong_digits_are_named),
        cmocka_unit_test(ticks_as_numpy_has_them),
#ifdef KRAIT_FAULTS
        cmocka_unit_test(every_allocation_fails_once),
#endif
    };
    return cmocka_run_group_tests(tests, set_up, NULL);
}
