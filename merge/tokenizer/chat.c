#include "merge/tokenizer/chat.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "merge/recipe/recipe.h"
#include "merge/source/file.h"
#include "merge/source/source.h"
#include "merge/tokenizer/files.h"
#include "util/json.h"
#include "util/text.h"

#define TEMPLATE_MOST ((uint64_t)4 << 20)

/*
 * The templates that a recipe may name. Loaders drop the newline behind a block
 * and blanks before it, but nothing around an expression, so white space stands
 * only where it is meant.
 */
static const struct {
	const char *name, *text;
} named[] = {
	{"alpaca",
	 "{%- for m in messages if m['role'] == 'system' %}"
	 "{%- if loop.last %}{{ m['content'] | trim }}{% endif %}"
	 "{%- endfor %}{{ '\\n\\n' }}"
	 "{%- set titles = {'user': 'Instruction', 'user_context': 'Input', "
	 "'assistant': 'Response'} %}"
	 "{%- for m in messages if m['role'] in titles %}"
	 "{{- '### ' + titles[m['role']] + ':\\n' + (m['content'] | trim) }}"
	 "{%- if m is not sameas messages[-1] %}{{ '\\n\\n' }}{% endif %}"
	 "{%- endfor %}"
	 "{%- if add_generation_prompt and messages[-1]['role'] != "
	 "'assistant' %}{{ '### Response:\\n' }}{% endif %}"},
	{"chatml",
	 "{%- for m in messages %}"
	 "{{- '<|im_start|>' + m['role'] + '\\n' + m['content'] + "
	 "'<|im_end|>\\n' }}"
	 "{%- endfor %}"
	 "{%- if add_generation_prompt %}{{- '<|im_start|>assistant\\n' }}"
	 "{%- endif %}"},
	{"exaone",
	 "{%- for m in messages %}"
	 "{%- if loop.first and m['role'] != 'system' %}"
	 "{{- '[|system|][|endofturn|]\\n' }}{% endif %}"
	 "{{- '[|' + m['role'] + '|]' + m['content'] + "
	 "('\\n' if m['role'] == 'user' else '[|endofturn|]\\n') }}"
	 "{%- endfor %}"
	 "{%- if add_generation_prompt %}{{- '[|assistant|]' }}{% endif %}"},
	{"llama3",
	 "{%- for m in messages %}"
	 "{%- if loop.first %}{{- bos_token }}{% endif %}"
	 "{{- '<|start_header_id|>' + m['role'] + '<|end_header_id|>\\n\\n' + "
	 "(m['content'] | trim) + '<|eot_id|>' }}"
	 "{%- endfor %}"
	 "{%- if add_generation_prompt %}"
	 "{{- '<|start_header_id|>assistant<|end_header_id|>\\n\\n' }}"
	 "{%- endif %}"},
	{"mistral",
	 "{%- set has_system = messages[0]['role'] == 'system' %}"
	 "{%- set turns = messages[1:] if has_system else messages %}"
	 "{{- bos_token }}"
	 "{%- for m in turns %}"
	 "{%- if m['role'] not in ('user', 'assistant') %}"
	 "{{- raise_exception('Roles after a system message at the head must "
	 "be user and assistant') }}"
	 "{%- elif (m['role'] == 'user') != (loop.index0 % 2 == 0) %}"
	 "{{- raise_exception('Roles must alternate: user, assistant, user, "
	 "...') }}"
	 "{%- elif m['role'] == 'assistant' %}"
	 "{{- ' ' + m['content'] + eos_token }}"
	 "{%- else %}"
	 "{{- ' [INST] ' + (messages[0]['content'] + '\\n\\n' if loop.first "
	 "and has_system else '') + m['content'] + ' [/INST]' }}"
	 "{%- endif %}{% endfor %}"},
};

static int no_memory(struct error *err)
{
	return error_set(err, -ENOMEM, "out of memory");
}

/* Without white space at both ends. */
static char *strip(const char *text)
{
	while (isspace((unsigned char)*text))
		text++;
	size_t length = strlen(text);
	while (length > 0 && isspace((unsigned char)text[length - 1]))
		length--;
	return strndup(text, length);
}

/* The main one of what tokenizer_config.json says, or NULL. */
static cJSON *main_template(cJSON *item)
{
	cJSON *entry;

	if (!cJSON_IsArray(item))
		return cJSON_IsString(item) ? item : NULL;
	cJSON_ArrayForEach(entry, item)
	{
		const cJSON *name = json_at(entry, "name");
		cJSON *text =
			cJSON_GetObjectItemCaseSensitive(entry, "template");
		if (cJSON_IsString(name) && cJSON_IsString(text) &&
		    strcmp(name->valuestring, "default") == 0)
			return text;
	}
	return NULL;
}

/* A model's own template, stripped; *ret NULL if it has none. */
static int template_of(const struct source *source, char **ret,
		       struct error *err)
{
	AUTO_FREE char *text = NULL;
	AUTO(cJSON) config = NULL;
	size_t size;

	*ret = NULL;
	int r = tokenizer_file(source, "chat_template.jinja", &text, &size,
			       NULL, err);
	if (r == -ENOENT) {
		r = tokenizer_json_file(source, "tokenizer_config.json",
					&config, err);
		if (r < 0)
			return r == -ENOENT ? 0 : r;
		const cJSON *found =
			main_template(cJSON_GetObjectItemCaseSensitive(
				config, "chat_template"));
		if (!found)
			return 0;
		text = strdup(found->valuestring);
		if (!text)
			return no_memory(err);
	}
	if (r < 0)
		return r;
	*ret = strip(text);
	return *ret ? 0 : no_memory(err);
}

/* The most frequent; of those the first. */
static size_t vote(char *const *texts, size_t n)
{
	size_t best = n, most = 0;

	for (size_t i = 0; i < n; i++) {
		size_t votes = 0;
		for (size_t j = 0; texts[i] && j < n; j++)
			votes += texts[j] && strcmp(texts[i], texts[j]) == 0;
		if (votes > most) {
			most = votes;
			best = i;
		}
	}
	return best;
}

static int choose_auto(const struct source *const *sources, size_t n,
		       char **ret, char **ret_origin, struct notes *notes,
		       struct error *err)
{
	AUTO_FREE char **texts = calloc(n + 1, sizeof(char *));
	int r = texts ? 0 : no_memory(err);

	for (size_t i = 0; r == 0 && i < n; i++)
		r = template_of(sources[i], &texts[i], err);
	size_t best = r == 0 ? vote(texts, n) : n;
	if (best < n) {
		*ret = TAKE(texts[best]);
		if (asprintf(ret_origin, "auto, that of %s",
			     sources[best]->label) < 0) {
			*ret_origin = NULL;
			r = no_memory(err);
		}
	} else if (r == 0) {
		r = notes_add(notes, "chat_template: no model has one");
	}
	for (size_t i = 0; texts && i < n; i++)
		free(texts[i]);
	return r;
}

/* A file beside the recipe, or in the working directory. -ENOENT: none. */
static int read_path(const char *directory, const char *name, char **ret,
		     struct error *err)
{
	for (int i = 0; i < 2; i++) {
		AUTO_FREE char *path = NULL;
		AUTO(file) file = NULL;
		struct stat st;
		const char *folder = i == 0 && directory ? directory : ".";
		int n = *name == '/' ? asprintf(&path, "%s", name)
				     : asprintf(&path, "%s/%s", folder, name);
		if (n < 0) {
			path = NULL;
			return no_memory(err);
		}
		if (stat(path, &st) < 0 || !S_ISREG(st.st_mode))
			continue;
		int r = file_open(AT_FDCWD, path, path, NULL, &file, err);
		return r < 0 ? r : file_load(file, TEMPLATE_MOST, ret, err);
	}
	return -ENOENT;
}

static int no_such(const struct recipe *recipe, struct error *err)
{
	const char *words[ARRAY_SIZE(named) + 2] = {"auto"};
	for (size_t i = 0; i < ARRAY_SIZE(named); i++)
		words[i + 1] = named[i].name;

	const char *near = text_nearest(recipe->chat_template, words);
	return error_set(err, -EINVAL,
			 "%s:%u: no chat template '%.100s'%s%s%s; it can be "
			 "auto, alpaca, chatml, exaone, llama3, mistral, a "
			 "file, or Jinja text of at least 20 characters with "
			 "a '{' in it",
			 recipe->path, recipe->chat_template_line,
			 recipe->chat_template, near ? "; did you mean '" : "",
			 near ? near : "", near ? "'?" : "");
}

static int copy(const char *text, const char *origin, char **ret,
		char **ret_origin, struct error *err)
{
	*ret = strdup(text);
	*ret_origin = strdup(origin);
	return *ret && *ret_origin ? 0 : no_memory(err);
}

int chat_choose(const struct recipe *recipe, const char *directory,
		const struct source *const *sources, size_t n, char **ret,
		char **ret_origin, struct notes *notes, struct error *err)
{
	const char *wanted = recipe->chat_template;

	*ret = *ret_origin = NULL;
	if (!wanted)
		return 0;
	if (strcmp(wanted, "auto") == 0)
		return choose_auto(sources, n, ret, ret_origin, notes, err);
	for (size_t i = 0; i < ARRAY_SIZE(named); i++) {
		if (strcmp(wanted, named[i].name) == 0)
			return copy(named[i].text, wanted, ret, ret_origin,
				    err);
	}
	if (!strpbrk(wanted, "{\n")) {
		int r = read_path(directory, wanted, ret, err);
		if (r == 0)
			*ret_origin = strdup(wanted);
		if (r != -ENOENT)
			return r < 0 || *ret_origin ? r : no_memory(err);
	}
	if (strlen(wanted) < 20 || !strchr(wanted, '{'))
		return no_such(recipe, err);
	return copy(wanted, "the recipe's own text", ret, ret_origin, err);
}

int chat_edit_config(char **text, const char *path, const char *template,
		     struct error *err)
{
	static const char key[] = "chat_template";
	AUTO(cJSON) config = NULL;
	AUTO_FREE char *value = NULL;
	int r = json_parse(*text, strlen(*text), path, &config, err);
	if (r < 0)
		return r;

	cJSON *item = cJSON_GetObjectItemCaseSensitive(config, key);
	cJSON *entry = main_template(item);
	if (!entry)
		return 0;
	if (!cJSON_SetValuestring(entry, template))
		return no_memory(err);
	value = cJSON_PrintUnformatted(item);
	r = value ? json_edit(text, key, value) : -ENOMEM;
	return r < 0 ? no_memory(err) : 0;
}
