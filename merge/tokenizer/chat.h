/*
 * Chat templates: which one the output has.
 */
#ifndef MERGE_TOKENIZER_CHAT_H
#define MERGE_TOKENIZER_CHAT_H

#include <stddef.h>

#include "util/error.h"

struct recipe;
struct source;

/*
 * What the recipe's chat_template: means. *ret, malloc'ed, is the text, or NULL
 * if the key is absent or nobody has a template; *ret_origin, malloc'ed, says
 * in words where it is from. sources: (n,) the donor first. directory: the
 * recipe's, or NULL. Errors name the line.
 */
int chat_choose(const struct recipe *recipe, const char *directory,
		const struct source *const *sources, size_t n, char **ret,
		char **ret_origin, struct notes *notes, struct error *err);

/* tokenizer_config.json's text with the template where it had one; *text is
 * malloc'ed and replaced. */
int chat_edit_config(char **text, const char *path, const char *template,
		     struct error *err);

#endif
