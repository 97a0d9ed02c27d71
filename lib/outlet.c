#include "outlet.h"

#include "table.h"

krait_status krait__own(krait__outlet *outlet, PyObject *object, size_t bytes, krait_value *out, krait_error **err) {
    krait__hold *hold = krait__hold_new(outlet->thread, object, bytes);
    if (!hold) {
        py.Py_DecRef(object);
        return krait__fail_nomem(err);
    }
    out->flags = KRAIT_VALUE_PYTHON_;
    out->release = krait__hold_release;
    out->owner = hold;
    return KRAIT_OK;
}

void krait__span(const krait__array_head *head, size_t item_size, const char **lo, const char **hi) {
    int64_t low = 0, high = (int64_t)item_size;
    for (int i = 0; i < head->ndim; i++) {
        int64_t reach = (int64_t)head->strides[i] * (head->shape[i] - 1);
        if (head->shape[i] == 0) low = high = 0;
        if (head->shape[i] == 0) break;
        if (reach < 0) low += reach;
        else high += reach;
    }
    *lo = head->data + low;
    *hi = head->data + high;
}

bool krait__any_loan(const krait__outlet *outlet) {
    for (size_t i = 0; i < outlet->loan_count; i++)
        if (!outlet->loans[i].dead) return true;
    return false;
}

krait__loan *krait__loan_under(const krait__outlet *outlet, const char *lo, const char *hi) {
    for (size_t i = 0; i < outlet->loan_count; i++) {
        krait__loan *loan = &outlet->loans[i];
        if (loan->dead) continue;
        if (lo < hi && (lo >= loan->hi || hi <= loan->lo)) continue;
        if (lo == hi && !loan->table && (lo < loan->lo || hi > loan->hi)) continue; /* empty columns may lie beyond */
        if (!loan->table || krait__table_touches_near(loan->table, lo, hi, &loan->near)) return loan;
    }
    return NULL;
}

krait__loan *krait__loan_under_array(const krait__outlet *outlet, const krait__array_head *head, size_t item_size) {
    const char *lo, *hi;
    if (!krait__any_loan(outlet)) return NULL;
    krait__span(head, item_size, &lo, &hi);
    return krait__loan_under(outlet, lo, hi);
}

uint32_t krait__flags_of(int numpy_flags) {
    uint32_t flags = 0;
    if (numpy_flags & NPY_WRITABLE) flags |= KRAIT_ARRAY_WRITABLE;
    if (numpy_flags & NPY_C) flags |= KRAIT_ARRAY_C_CONTIGUOUS;
    if (numpy_flags & NPY_F) flags |= KRAIT_ARRAY_F_CONTIGUOUS;
    if (numpy_flags & NPY_ALIGNED) flags |= KRAIT_ARRAY_ALIGNED;
    return flags;
}
