#include <krait/runtime.h>
#include "error.h"
krait_status krait_doctor(int format, krait_value *report, krait_error **err) { (void)format; *report = krait_none(); return krait__fail(err, KRAIT_E_UNSUPPORTED, "x"); }
