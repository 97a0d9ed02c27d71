/* instant: readers of time values, and ticks of one unit in another, in plain C.
 *
 * Whole numbers only, and exact ones: what would be rounded or does not fit 64 bits is refused. Years and months have
 * no fixed length, so a duration of them converts to no other unit; an instant of them is the begin of that year or
 * month in the Gregorian calendar, as numpy has it. Nothing becomes years or months but these themselves. */
#include "instant.h"

#include <inttypes.h>
#include <string.h>

#include "error.h"

enum { NAME_ROOM = 64 }; /* for a dtype's name */

/* ---- checks ------------------------------------------------------------------------------------------------------ */

static bool is_time(uint8_t code) {
    return code == KRAIT_DATETIME || code == KRAIT_TIMEDELTA;
}

krait_status krait__time_check(const krait_value *value, krait_error **err) {
    krait_dtype dtype = value->as.time.dtype;
    char        name[NAME_ROOM];
    krait_dtype_name(dtype, name, sizeof name);
    if (!is_time(dtype.code) || dtype.item_size != 8 || dtype.swapped || dtype.reserved)
        return krait__fail(err, KRAIT_E_ARGUMENT, "a time of dtype %s, expected krait_datetime or krait_timedelta",
                           name);
    if (dtype.unit > KRAIT_AS)
        return krait__fail(err, KRAIT_E_ARGUMENT, "a time of unit %d, expected 0 to 13", dtype.unit);
    if (dtype.of.count < 1 || dtype.of.count > INT32_MAX)
        return krait__fail(err, KRAIT_E_ARGUMENT, "a time that counts %" PRId64 " of its unit, expected 1 to %" PRId32,
                           dtype.of.count, INT32_MAX);
    if (value->as.time.ticks == INT64_MIN) return KRAIT_OK;
    if (dtype.code == KRAIT_DATETIME && dtype.unit == KRAIT_GENERIC)
        return krait__fail(err, KRAIT_E_ARGUMENT, "an instant without a unit; only NaT and durations may lack it");
    if (dtype.code == KRAIT_TIMEDELTA && value->as.time.zone)
        return krait__fail(err, KRAIT_E_ARGUMENT, "a duration in time zone '%s'; only instants have one",
                           value->as.time.zone);
    return KRAIT_OK;
}

/* ---- exact arithmetic -------------------------------------------------------------------------------------------- */

enum { EXACT, INEXACT, TOO_LARGE };

static uint64_t common(uint64_t a, uint64_t b) {
    while (b) {
        uint64_t rest = a % b;
        a = b;
        b = rest;
    }
    return a;
}

/* A product of `ups` over a product of `downs`, all positive but the first. Each divisor is taken out of the factors
 * before these are multiplied, so nothing overflows that fits in the end. */
static int ratio(int64_t *ups, int up_count, const int64_t *downs, int down_count, int64_t *out) {
    int64_t product = 1;
    *out = 0;
    if (!ups[0]) return EXACT;
    for (int d = 0; d < down_count; d++) {
        int64_t down = downs[d];
        for (int u = 0; u < up_count; u++) {
            uint64_t size = ups[u] < 0 ? -(uint64_t)ups[u] : (uint64_t)ups[u];
            int64_t  shared = (int64_t)common(size, (uint64_t)down);
            ups[u] /= shared;
            down /= shared;
        }
        if (down != 1) return INEXACT;
    }
    for (int u = 0; u < up_count; u++)
        if (__builtin_mul_overflow(product, ups[u], &product)) return TOO_LARGE;
    if (product == INT64_MIN) return TOO_LARGE; /* that is NaT */
    *out = product;
    return EXACT;
}

/* ---- units ------------------------------------------------------------------------------------------------------- */

/* Of weeks and shorter: seconds in one, and ones in a second. */
static const struct {
    int64_t seconds, per_second;
} units[] = {
    [KRAIT_WEEK] = { 604800, 1 },
    [KRAIT_DAY] = { 86400, 1 },
    [KRAIT_HOUR] = { 3600, 1 },
    [KRAIT_MINUTE] = { 60, 1 },
    [KRAIT_S] = { 1, 1 },
    [KRAIT_MS] = { 1, 1000 },
    [KRAIT_US] = { 1, 1000000 },
    [KRAIT_NS] = { 1, 1000000000 },
    [KRAIT_PS] = { 1, 1000000000000 },
    [KRAIT_FS] = { 1, 1000000000000000 },
    [KRAIT_AS] = { 1, 1000000000000000000 },
};

static bool has_months(uint8_t unit) {
    return unit == KRAIT_YEAR || unit == KRAIT_MONTH;
}

static int between_fixed(int64_t ticks, int64_t count, uint8_t from, uint8_t to, int64_t *out) {
    int64_t ups[] = { ticks, count, units[from].seconds, units[to].per_second };
    int64_t downs[] = { units[from].per_second, units[to].seconds };
    return ratio(ups, 4, downs, 2, out);
}

static int between_months(int64_t ticks, int64_t count, uint8_t from, uint8_t to, int64_t *out) {
    int64_t ups[] = { ticks, count, from == KRAIT_YEAR ? 12 : 1 };
    int64_t downs[] = { to == KRAIT_YEAR ? 12 : 1 };
    return ratio(ups, 3, downs, 1, out);
}

static int64_t floor_div(int64_t a, int64_t b) {
    return a / b - (a % b < 0);
}

/* Days from 1970-01-01 to the begin of a month, counted from 1970-01. Years are taken to begin in March: then the leap
 * day is the last of its year, and months have (153 m + 2) / 5 days before them. */
static bool days_before(int64_t months, int64_t *days) {
    const int64_t years_max = (int64_t)1 << 54, to_1970 = 719468; /* days from 0000-03-01 */
    int64_t       year = floor_div(months, 12), month = months - year * 12;
    if (year > years_max || year < -years_max) return false;
    year += 1970 - (month < 2);
    month = (month + 10) % 12;
    *days =
        year * 365 + floor_div(year, 4) - floor_div(year, 100) + floor_div(year, 400) + (153 * month + 2) / 5 - to_1970;
    return true;
}

static int instant_of_months(int64_t ticks, int64_t count, uint8_t from, uint8_t to, int64_t *out) {
    int64_t months, days;
    int     how = between_months(ticks, count, from, KRAIT_MONTH, &months);
    if (how != EXACT) return how;
    return days_before(months, &days) ? between_fixed(days, 1, KRAIT_DAY, to, out) : TOO_LARGE;
}

/* ---- conversion -------------------------------------------------------------------------------------------------- */

static krait_status no_way(int64_t ticks, krait_dtype dtype, uint8_t unit, const char *why, krait_error **err) {
    char        from[NAME_ROOM], to[NAME_ROOM];
    krait_dtype wanted = dtype;
    wanted.unit = unit;
    wanted.of.count = 1;
    krait_dtype_name(dtype, from, sizeof from);
    krait_dtype_name(wanted, to, sizeof to);
    return krait__fail(err, KRAIT_E_RANGE, "%" PRId64 " of %s %s %s", ticks, from, why, to);
}

krait_status krait__ticks_in(int64_t ticks, krait_dtype dtype, uint8_t unit, int64_t *out, krait_error **err) {
    int64_t count = dtype.of.count;
    bool    same = dtype.unit == unit && count == 1, months = has_months(unit);
    int     how;
    *out = ticks;
    if (ticks == INT64_MIN || same) return KRAIT_OK;
    if (dtype.unit == KRAIT_GENERIC || unit == KRAIT_GENERIC)
        return no_way(ticks, dtype, unit, "have no length that could be told in", err);
    if (has_months(dtype.unit) != months && (months || dtype.code == KRAIT_TIMEDELTA))
        return no_way(ticks, dtype, unit, "do not convert, since months differ in length, to", err);
    if (months) how = between_months(ticks, count, dtype.unit, unit, out);
    else if (has_months(dtype.unit)) how = instant_of_months(ticks, count, dtype.unit, unit, out);
    else how = between_fixed(ticks, count, dtype.unit, unit, out);
    if (how == EXACT) return KRAIT_OK;
    return no_way(ticks, dtype, unit, how == INEXACT ? "are no whole number of" : "are too many for 64 bits of", err);
}

/* ---- readers ----------------------------------------------------------------------------------------------------- */

static krait_status read_time(const krait_value *value, krait_error **err) {
    char text[128];
    if (!value) return krait__fail(err, KRAIT_E_ARGUMENT, "value is NULL");
    if (value->kind == KRAIT_KIND_TIME) return krait__time_check(value, err);
    krait_value_describe(value, text, sizeof text);
    return krait__fail(err, KRAIT_E_KIND, "value is %s, expected a time", text);
}

krait_status krait_get_time(const krait_value *value, krait_time_parts *out, krait_error **err) {
    krait_status status;
    if (out) memset(out, 0, sizeof *out);
    if (krait__stuck(err)) return krait_error_status(*err);
    status = out ? read_time(value, err) : krait__fail(err, KRAIT_E_ARGUMENT, "out is NULL");
    if (status) {
        krait__at(err, "read value");
        return status;
    }
    out->ticks = value->as.time.ticks;
    out->dtype = value->as.time.dtype;
    out->zone = value->as.time.zone;
    return KRAIT_OK;
}

/* A NaT without a unit is one of either code: pandas has but one. */
static krait_status check_code(const krait_value *value, int code, krait_error **err) {
    krait_dtype dtype = value->as.time.dtype;
    char        name[NAME_ROOM];
    if (code == KRAIT_ANY || code == dtype.code) return KRAIT_OK;
    if (dtype.unit == KRAIT_GENERIC && value->as.time.ticks == INT64_MIN) return KRAIT_OK;
    krait_dtype_name(dtype, name, sizeof name);
    return krait__fail(err, KRAIT_E_KIND, "value is a time of %s, expected %s", name,
                       code == KRAIT_DATETIME ? "an instant" : "a duration");
}

static krait_status get_ticks(const krait_value *value, int code, int unit, int64_t *out, krait_error **err) {
    krait_status status;
    if (code != KRAIT_ANY && code != KRAIT_DATETIME && code != KRAIT_TIMEDELTA)
        return krait__fail(err, KRAIT_E_ARGUMENT,
                           "dtype code %d, expected KRAIT_DATETIME, KRAIT_TIMEDELTA or KRAIT_ANY", code);
    if (unit < KRAIT_GENERIC || unit > KRAIT_AS)
        return krait__fail(err, KRAIT_E_ARGUMENT, "unit %d is unknown, expected 0 to 13", unit);
    status = read_time(value, err);
    if (!status) status = check_code(value, code, err);
    return status ? status : krait__ticks_in(value->as.time.ticks, value->as.time.dtype, (uint8_t)unit, out, err);
}

krait_status krait_get_ticks(const krait_value *value, int code, int unit, int64_t *out, krait_error **err) {
    krait_status status;
    if (out) *out = 0;
    if (krait__stuck(err)) return krait_error_status(*err);
    if (!out) status = krait__fail(err, KRAIT_E_ARGUMENT, "out is NULL");
    else status = get_ticks(value, code, unit, out, err);
    if (status && out) *out = 0;
    if (status) krait__at(err, "read value");
    return status;
}
