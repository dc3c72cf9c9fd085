/* Judgements on single tensor names. */
#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "merge/arch/arch.h"
#include "util/text.h"

static bool is_number(const char *text, size_t length)
{
	if (length == 0 || length > 6)
		return false;
	for (size_t i = 0; i < length; i++) {
		if (!isdigit((unsigned char)text[i]))
			return false;
	}
	return true;
}

bool arch_split(const char *name, size_t *ret_prefix, uint64_t *ret_layer,
		const char **ret_rest)
{
	const char *part = strchr(name, '.');

	for (; part; part = strchr(part, '.')) {
		part++;
		size_t length = strcspn(part, ".");
		if (part[length] != '.')
			return false;
		if (!is_number(part, length))
			continue;
		*ret_prefix = (size_t)(part - name);
		*ret_layer = strtoul(part, NULL, 10);
		*ret_rest = part + length;
		return true;
	}
	return false;
}

/* The name with other text in place of its number; a loose name is copied. */
static char *replace_number(const char *name, const char *text)
{
	size_t prefix;
	uint64_t number;
	const char *rest;
	if (!arch_split(name, &prefix, &number, &rest))
		return strdup(name);

	char *replaced = NULL;
	int r = asprintf(&replaced, "%.*s%s%s", (int)prefix, name, text, rest);
	return r < 0 ? NULL : replaced;
}

char *arch_renumber(const char *name, uint64_t layer)
{
	char number[24];

	snprintf(number, sizeof(number), "%llu", (unsigned long long)layer);
	return replace_number(name, number);
}

char *arch_template(const char *name)
{
	return replace_number(name, "N");
}

/*
 * Spellings that differ between releases of the same loader, or between a bare
 * model and one with a head. Prefixes are taken off in this order, each once.
 */
static const char *const wrappers[] = {
	"model.",    "transformer.",	"bert.",
	"roberta.",  "distilbert.",	"gpt_neox.",
	"backbone.", "language_model.", "model.",
};

const char *arch_unwrapped(const char *name)
{
	for (size_t i = 0; i < ARRAY_SIZE(wrappers); i++) {
		size_t length = strlen(wrappers[i]);
		if (strncmp(name, wrappers[i], length) == 0)
			name += length;
	}
	return name;
}

char *arch_canonical(const char *name)
{
	name = arch_unwrapped(name);

	static const struct {
		const char *old, *now;
	} endings[] = {
		{"LayerNorm.gamma", "LayerNorm.weight"},
		{"LayerNorm.beta", "LayerNorm.bias"},
	};
	size_t length = strlen(name);
	for (size_t i = 0; i < ARRAY_SIZE(endings); i++) {
		size_t end = strlen(endings[i].old);
		if (length < end ||
		    strcmp(name + length - end, endings[i].old) != 0)
			continue;
		char *text = NULL;
		int r = asprintf(&text, "%.*s%s", (int)(length - end), name,
				 endings[i].now);
		return r < 0 ? NULL : text;
	}
	return strdup(name);
}

/* Does name end in one of these, at a component boundary? */
static bool ends_in(const char *name, const char *const *endings, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		if (!text_ends(name, endings[i]))
			continue;
		size_t begin = strlen(name) - strlen(endings[i]);
		if (begin == 0 || name[begin - 1] == '.')
			return true;
	}
	return false;
}

bool arch_is_embedding(const char *name)
{
	static const char *const endings[] = {
		"embed_tokens.weight",
		"wte.weight",
		"word_embeddings.weight",
		"tok_embeddings.weight",
		"embed_in.weight",
		"shared.weight",
		"backbone.embeddings.weight",
	};

	return ends_in(name, endings, ARRAY_SIZE(endings));
}

bool arch_is_head(const char *name)
{
	static const char *const endings[] = {
		"lm_head.weight",
		"embed_out.weight",
		"output_layer.weight",
		"proj_out.weight",
		"cls.predictions.decoder.weight",
		"vocab_projector.weight",
	};

	return ends_in(name, endings, ARRAY_SIZE(endings)) ||
	       strcmp(name, "output.weight") == 0 ||
	       strcmp(name, "model.output.weight") == 0;
}

bool arch_has_tokens(const char *name)
{
	static const char *const endings[] = {
		"lm_head.bias",
		"embed_out.bias",
		"output_layer.bias",
		"cls.predictions.bias",
		"cls.predictions.decoder.bias",
		"vocab_projector.bias",
		"shared_head.head.weight",
	};

	return arch_is_embedding(name) || arch_is_head(name) ||
	       ends_in(name, endings, ARRAY_SIZE(endings));
}
