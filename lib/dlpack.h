/* dlpack: DLPack tensors and array values, in plain C. */
#ifndef KRAIT_LIB_DLPACK_H
#define KRAIT_LIB_DLPACK_H

#include <krait/arrow.h>

enum { KRAIT__DLPACK_CPU = 1 }; /* kDLCPU: the one device whose memory krait reads */

/* KRAIT_E_UNSUPPORTED, naming the device; KRAIT_OK for the CPU. */
krait_status krait__dlpack_device(int32_t type, int32_t number, krait_error **err);

/* krait_dlpack_import without its step; krait__dlpack_forget undoes it, leaving the tensor as it was. */
krait_status krait__dlpack_take(void *tensor, bool versioned, krait_value *out, krait_error **err);
void         krait__dlpack_forget(krait_value *value);

#endif
