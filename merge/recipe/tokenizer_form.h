/*
 * The form of tokenizer_source:, tokenizer: and chat_template:.
 */
#ifndef MERGE_RECIPE_TOKENIZER_FORM_H
#define MERGE_RECIPE_TOKENIZER_FORM_H

struct form;
struct recipe;
struct yaml;

/* Judges them, and sets the recipe's tokenizer_line and chat_template_line. */
int tokenizer_form_read(const struct form *form, const struct yaml *document,
			struct recipe *recipe);

#endif
