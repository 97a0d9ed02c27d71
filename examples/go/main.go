// A Go program that calls a numpy function on its own slices, without a copy, from several goroutines at once.
package main

/*
#cgo LDFLAGS: -lkrait
#include <krait.h>

// C may have the address of a slice, but no Go struct that holds it: so the arguments are put together here.
static krait_error *normalize(krait_func *func, const double *data, size_t rows, size_t cols, double *z) {
    krait_error *err = NULL;
    krait_value  out;
    krait_array  array;
    krait_arg    args[] = { krait_pos(krait_matrix_f64(data, rows, cols)) };
    krait_call(func, args, 1, NULL, &out, &err);
    krait_get_array(&out, KRAIT_F64, 2, &array, &err);
    if (!err) memcpy(z, array.data, rows * cols * sizeof *z);
    krait_value_clear(&out);
    return err;
}

static krait_func *start(krait_error **err) {
    krait_init(NULL, err);
    return krait_func_new("krait.analysis:normalize", err);
}
*/
import "C"

import (
	"fmt"
	"log"
	"sync"
	"unsafe"
)

func check(err *C.krait_error) {
	if err != nil {
		log.Fatalf("%s: %s", C.GoString(C.krait_error_step(err)), C.GoString(C.krait_error_message(err)))
	}
}

// normalize gives the values of a matrix, row by row, in standard deviations from the mean of their column.
func normalize(f *C.krait_func, data []float64, cols int) []float64 {
	z := make([]float64, len(data))
	in, out := (*C.double)(unsafe.SliceData(data)), (*C.double)(unsafe.SliceData(z))
	check(C.normalize(f, in, C.size_t(len(data)/cols), C.size_t(cols), out))
	return z
}

func main() {
	log.SetFlags(0)
	var err *C.krait_error
	f := C.start(&err)
	check(err)
	var group sync.WaitGroup
	results := make([][]float64, 8)
	for i := range results {
		group.Add(1)
		go func(i int) {
			defer group.Done()
			results[i] = normalize(f, []float64{1, 10, 2, 20, 3, float64(10 * i)}, 2)
		}(i)
	}
	group.Wait()
	for i, z := range results {
		fmt.Printf("goroutine %d: %6.3f\n", i, z)
	}
	C.krait_func_unref(f)
}
