#include "merge/output/files.h"

#include <string.h>

#include "merge/engine/plan.h"
#include "merge/output/config.h"
#include "merge/source/file.h"
#include "merge/source/source.h"
#include "merge/tokenizer/output.h"

static int edit_generation(struct plan *plan, struct companion *companions,
			   size_t n, struct error *err)
{
	for (size_t i = 0; i < n; i++) {
		struct file *edited = NULL;
		if (strcmp(companions[i].path, "generation_config.json") != 0)
			continue;
		int r = config_generation(plan, companions[i].file, &edited,
					  err);
		if (r < 0 || !edited)
			return r;
		file_close(companions[i].file);
		companions[i].file = edited;
	}
	return 0;
}

int files_beside(struct plan *plan, struct companion **ret, size_t *ret_n,
		 struct error *err)
{
	struct tokenizer_output tokenizer = {
		.vocabulary = plan->vocabulary,
		.chat_template = plan->chat_template,
	};
	struct companion *companions = NULL;
	size_t n = 0;

	int r = source_companions(plan->donor, &companions, &n, &plan->notes,
				  err);
	if (r == 0)
		r = edit_generation(plan, companions, n, err);
	if (r == 0)
		r = tokenizer_output(&tokenizer, plan->donor, &companions, &n,
				     &plan->notes, err);
	if (r < 0) {
		companions_free(companions, n);
		return r;
	}
	*ret = companions;
	*ret_n = n;
	return 0;
}
