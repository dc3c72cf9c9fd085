/*
 * One instruction set: the conversions and methods compiled for it.
 *
 * The sources of kernels/ and methods/ are compiled once per instruction set
 * (kernels/meson.build), as plain C that the compiler vectorises, with a few
 * lines of intrinsics where it does not see that it can; names that would clash
 * carry the set's name through ISA_NAME(). Every set gives the same bytes: no
 * contraction, no reassociation, fused multiply-add only where it is written,
 * reductions in lanes of one fixed shape.
 */
#ifndef MERGE_KERNELS_ISA_H
#define MERGE_KERNELS_ISA_H

#include <stddef.h>

#include "merge/tensor/dtype.h"

#define ISA_PASTE2(name, isa) name##_##isa
#define ISA_PASTE(name, isa) ISA_PASTE2(name, isa)
#define ISA_NAME(name) ISA_PASTE(name, ISA)

/* Elements: the unit of evaluation, aligned to itself. As floats, those of
 * several inputs stay in a core's first cache. */
#define TILE 512

struct method;
struct product;

struct isa {
	const char *name; /* "base", "avx2", "avx512" */

	/*
	 * By dtype_code; NULL where the type is not mergeable. load is exact
	 * but for F64, which is rounded to f32; store rounds once, to nearest
	 * even; overflow gives infinity; any NaN becomes the positive quiet one
	 * without payload. `in` and `out` of the stored side need no alignment.
	 */
	void (*load[DTYPE_COUNT])(float *out, const void *in, size_t n);
	void (*store[DTYPE_COUNT])(void *out, const float *in, size_t n);

	/* What load gives for what store makes of the values; NULL where those
	 * are kept as they are. */
	void (*round[DTYPE_COUNT])(float *values, size_t n);

	/* See product.h. */
	void (*add_product)(float *values, const struct product *product);

	const struct method *const
		*methods; /* NULL-ended, order of methods.def */
};

/*
 * The best set that this machine can run, or the one that the environment
 * variable MKFS_MOUNT_ISA names, if it can run that.
 */
const struct isa *isa_best(void);

/* By name; NULL if unknown here or if this machine cannot run it. */
const struct isa *isa_find(const char *name);

/* All sets compiled in, NULL-ended, plainest first. */
const struct isa *const *isa_all(void);

#endif
