/*
 * Archives of tensors by name as PyTorch (1.6 and later) saves them: a zip of
 * stored entries, a pickle that says what is where among them. What the pickle
 * would have Python do is not done (pickle.h).
 */
#ifndef MERGE_SOURCE_TORCH_H
#define MERGE_SOURCE_TORCH_H

#include "util/error.h"

struct file;
struct safetensors;

/*
 * The tensors of a file as a header of safetensors would have them, in any
 * order; two may share their bytes. One sentence on failure, -EINVAL, -ENOMEM
 * or what reading gives.
 */
int torch_read(const struct file *file, struct safetensors *ret,
	       struct error *err);

#endif
