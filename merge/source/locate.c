#include "merge/source/locate.h"

#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "util/macros.h"
#include "util/text.h"

static bool is_directory(const char *path)
{
	struct stat st;

	return stat(path, &st) == 0 && S_ISDIR(st.st_mode);
}

/* "org/name" as the Hub names models; not "./x", "../x" or "a/b/c". */
static bool is_hub_id(const char *path)
{
	const char *slash = strchr(path, '/');

	return slash && slash != path && slash[1] && !strchr(slash + 1, '/') &&
	       *path != '.' && *path != '~' && slash[1] != '.';
}

static bool is_commit(const char *revision)
{
	for (const char *p = revision; *p; p++) {
		if (!isxdigit((unsigned char)*p))
			return false;
	}
	return strlen(revision) == 40;
}

static char *join(const char *a, const char *b)
{
	char *path = NULL;

	return asprintf(&path, "%s/%s", a, b) < 0 ? NULL : path;
}

/* The Hugging Face cache, by the variables of its own library. */
static char *hub_cache(void)
{
	static const char *const whole[] = {"HF_HUB_CACHE",
					    "HUGGINGFACE_HUB_CACHE"};
	for (size_t i = 0; i < ARRAY_SIZE(whole); i++) {
		const char *value = getenv(whole[i]);
		if (value && *value)
			return strdup(value);
	}

	static const char *const bases[][2] = {
		{"HF_HOME", "hub"},
		{"XDG_CACHE_HOME", "huggingface/hub"},
		{"HOME", ".cache/huggingface/hub"},
	};
	for (size_t i = 0; i < ARRAY_SIZE(bases); i++) {
		const char *value = getenv(bases[i][0]);
		if (value && *value)
			return join(value, bases[i][1]);
	}
	return NULL;
}

/* The first word of a small file, or NULL. */
static char *read_word(const char *path)
{
	char word[128] = "";
	FILE *in = fopen(path, "re");
	if (!in)
		return NULL;
	int n = fscanf(in, "%127s", word);
	fclose(in);
	return n == 1 ? strdup(word) : NULL;
}

/* The snapshot of a revision in a repository of the cache, or NULL. */
static char *find_snapshot(const char *repository, const char *revision)
{
	char *path = NULL;
	AUTO_FREE char *commit = NULL;

	if (is_commit(revision)) {
		commit = strdup(revision);
	} else if (!strstr(revision, "..")) {
		if (asprintf(&path, "%s/refs/%s", repository, revision) < 0)
			return NULL;
		commit = read_word(path);
		free(path);
	}
	if (!commit || !is_commit(commit))
		return NULL;
	if (asprintf(&path, "%s/snapshots/%s", repository, commit) < 0)
		return NULL;
	if (is_directory(path))
		return path;
	free(path);
	return NULL;
}

static char *find_in_cache(const char *cache, const char *id,
			   const char *revision)
{
	const char *slash = strchr(id, '/');
	AUTO_FREE char *repository = NULL;
	if (asprintf(&repository, "%s/models--%.*s--%s", cache,
		     (int)(slash - id), id, slash + 1) < 0) {
		repository = NULL;
		return NULL;
	}
	return find_snapshot(repository, revision ? revision : "main");
}

static int not_found(const char *path, const char *revision,
		     const char *recipe_directory, const char *cache,
		     struct error *err)
{
	struct text tried = {0};

	if (*path != '/' && recipe_directory)
		text_printf(&tried, "%s/%s, ", recipe_directory, path);
	text_puts(&tried, path);
	if (is_hub_id(path) && cache)
		text_printf(&tried, ", the Hugging Face cache %s", cache);
	if (is_hub_id(path))
		text_printf(&tried, "; download it first: hf download %s%s%s",
			    path, revision ? " --revision " : "",
			    revision ? revision : "");
	AUTO_FREE char *places = text_take(&tried);
	return error_set(err, -ENOENT, "model %s was not found; tried %s", path,
			 places ? places : "");
}

int locate_model(const char *path, const char *revision,
		 const char *recipe_directory, char **ret, struct error *err)
{
	AUTO_FREE char *found = NULL;
	AUTO_FREE char *cache = NULL;

	if (*path == '/' || !recipe_directory)
		found = strdup(path);
	else
		found = join(recipe_directory, path);
	if (found && !is_directory(found)) {
		free(found);
		found = strdup(path);
	}
	if (found && !is_directory(found)) {
		free(found);
		found = NULL;
		cache = hub_cache();
		if (cache && is_hub_id(path))
			found = find_in_cache(cache, path, revision);
		if (!found)
			return not_found(path, revision, recipe_directory,
					 cache, err);
	}
	if (!found)
		return error_set(err, -ENOMEM, "out of memory");
	*ret = TAKE(found);
	return 0;
}
