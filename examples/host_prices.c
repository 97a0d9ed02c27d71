/* The other direction: Python code asks the host for prices, and what the host refuses it sees as an exception. */
#include <krait.h>
#include <stdio.h>
#include <string.h>

static const struct {
    const char *symbol;
    double      price;
} book[] = { { "ACME", 101.5 }, { "KRT", 42.25 } };

static const char source[] = "from krait import Error, host\n"
                             "def worth(holdings):\n"
                             "    return sum(n * host.prices.last(symbol) for symbol, n in holdings.items())\n"
                             "def careful(holdings):\n"
                             "    try:\n"
                             "        return worth(holdings)\n"
                             "    except Error as error:\n"
                             "        return f'no worth: {error} ({error.status})'\n";

/* Runs on the thread that the Python code runs on, with the GIL let go: it may block and may call krait. */
static krait_status last_price(void *user, const krait_arg *args, size_t n, krait_value *out, krait_error **err) {
    const char *symbol;
    int        *asked = user;
    if (n != 1) return krait_error_new(err, KRAIT_E_ARGUMENT, "prices.last takes a symbol, got %zu arguments", n);
    if (krait_get_text(&args[0].value, &symbol, NULL, err)) return krait_error_status(*err);
    ++*asked;
    for (size_t i = 0; i < sizeof book / sizeof *book; i++)
        if (strcmp(book[i].symbol, symbol) == 0) {
            *out = krait_f64(book[i].price);
            return KRAIT_OK;
        }
    return krait_error_new(err, KRAIT_E_NOT_FOUND, "no price of %s", symbol);
}

static void ask(const char *name, const char *second, krait_error **err) {
    const char *const keys[] = { "ACME", second };
    krait_value       counts[] = { krait_i64(10), krait_i64(4) }, holdings = krait_map(keys, counts, 2), out;
    krait_func       *func = krait_func_new(name, err);
    krait_arg         args[] = { krait_pos(holdings) };
    const char       *text;
    double            worth;
    krait_call(func, args, 1, NULL, &out, err);
    if (!*err && out.kind == KRAIT_KIND_TEXT && !krait_get_text(&out, &text, NULL, err)) printf("%s: %s\n", name, text);
    else if (!krait_get_f64(&out, &worth, err)) printf("%s: %.2f\n", name, worth);
    krait_value_clear(&out);
    krait_func_unref(func);
}

int main(void) {
    krait_error *err = NULL;
    int          asked = 0;
    krait_init(NULL, &err);
    krait_module_from_source("portfolio", source, &err);
    krait_register("prices.last", last_price, &asked, NULL, &err);
    ask("portfolio:worth", "KRT", &err);
    ask("portfolio:careful", "NONE", &err);
    if (err) fprintf(stderr, "%s: %s\n", krait_error_step(err), krait_error_message(err));
    if (err) return krait_error_clear(&err), 1;
    ask("portfolio:worth", "NONE", &err); /* nobody caught it: the host's own error comes back to it */
    printf("the host says: %s, %s\n", krait_status_name(krait_error_status(err)), krait_error_message(err));
    krait_error_clear(&err);
    printf("asked %d times\n", asked);
    krait_unregister("prices.last", NULL);
    return 0;
}
