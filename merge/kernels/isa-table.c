#include "merge/kernels/isa.h"

#include "merge/kernels/convert.h"
#include "merge/kernels/product.h"
#include "merge/methods/method.h"

#define METHOD(name) extern const struct method ISA_NAME(method_##name);
#include "merge/methods/methods.def"
#undef METHOD

#define METHOD(name) &ISA_NAME(method_##name),
static const struct method *const methods[] = {
#include "merge/methods/methods.def"
	NULL,
};
#undef METHOD

#define TEXT2(name) #name
#define TEXT(name) TEXT2(name)

extern const struct isa ISA_NAME(isa);

const struct isa ISA_NAME(isa) = {
	.name = TEXT(ISA),
	.load =
		{
			[DTYPE_F16] = load_f16,
			[DTYPE_BF16] = load_bf16,
			[DTYPE_F32] = load_f32,
			[DTYPE_F64] = load_f64,
		},
	.store =
		{
			[DTYPE_F16] = store_f16,
			[DTYPE_BF16] = store_bf16,
			[DTYPE_F32] = store_f32,
			[DTYPE_F64] = store_f64,
		},
	.round =
		{
			[DTYPE_F16] = round_f16,
			[DTYPE_BF16] = round_bf16,
		},
	.add_product = ISA_NAME(add_product),
	.methods = methods,
};
