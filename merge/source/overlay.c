#include "merge/source/overlay.h"

#include <stddef.h>
#include <string.h>

#include "merge/source/file.h"
#include "merge/source/source.h"
#include "util/json.h"

const char *const overlay_files[] = {
	"tokenizer.json",
	"tokenizer.model",
	"tokenizer.model.v3",
	"tekken.json",
	"tiktoken.model",
	"vocab.json",
	"vocab.txt",
	"merges.txt",
	"spiece.model",
	"sentencepiece.bpe.model",
	"tokenizer_config.json",
	"special_tokens_map.json",
	"added_tokens.json",
	"chat_template.jinja",
	"chat_template.json",
	NULL,
};

/* Each of them is a vocabulary. */
static const char *const vocabularies[] = {
	"tokenizer.json",
	"tokenizer.model",
	"tekken.json",
	"vocab.json",
	"vocab.txt",
	"spiece.model",
	"sentencepiece.bpe.model",
};

static bool is_template(const char *relative)
{
	static const char folder[] = "additional_chat_templates/";

	return strncmp(relative, "chat_template.", 14) == 0 ||
	       strncmp(relative, folder, sizeof(folder) - 1) == 0;
}

bool overlay_is_tokenizer(const char *relative)
{
	for (size_t i = 0; overlay_files[i]; i++) {
		if (strcmp(overlay_files[i], relative) == 0)
			return true;
	}
	return is_template(relative);
}

static bool has_file(const struct source *adapter, const char *relative)
{
	AUTO(file) file = NULL;

	return source_find_file(adapter, relative, &file, NULL) == 0;
}

static bool has_vocabulary(const struct source *adapter)
{
	for (size_t i = 0; i < ARRAY_SIZE(vocabularies); i++) {
		if (has_file(adapter, vocabularies[i]))
			return true;
	}
	return false;
}

static bool has_template(const struct source *adapter)
{
	AUTO(file) file = NULL;
	AUTO_FREE char *text = NULL;
	AUTO(cJSON) config = NULL;

	if (has_file(adapter, "chat_template.jinja") ||
	    has_file(adapter, "chat_template.json"))
		return true;
	if (source_find_file(adapter, "tokenizer_config.json", &file, NULL) <
		    0 ||
	    file_load(file, 16 << 20, &text, NULL) < 0 ||
	    json_parse(text, file->size, file->path, &config, NULL) < 0)
		return false;
	const cJSON *own = json_at(config, "chat_template");
	return own && !cJSON_IsNull(own);
}

enum overlay_place overlay_find(const struct source *adapter,
				const char *relative)
{
	if (!overlay_is_tokenizer(relative))
		return OVERLAY_BASE;
	if (has_file(adapter, relative))
		return OVERLAY_ADAPTER;

	bool own = is_template(relative) ? has_template(adapter)
					 : has_vocabulary(adapter);
	return own ? OVERLAY_NOWHERE : OVERLAY_BASE;
}
