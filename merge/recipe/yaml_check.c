#include "merge/recipe/yaml_build.h"

#include <errno.h>
#include <string.h>

/* Does the text of this line (from 1) begin with white space that has a tab? */
static bool begins_with_tab(const struct yaml_file *file, size_t line)
{
	const char *at = file->text;
	for (size_t i = 1; i < line && at; i++) {
		at = strchr(at, '\n');
		at = at ? at + 1 : NULL;
	}
	if (!at)
		return false;
	at += strspn(at, " ");
	return *at == '\t';
}

static size_t count_chars(const struct yaml_file *file)
{
	size_t n = 0;
	for (size_t i = 0; i < file->size; i++)
		n += ((unsigned char)file->text[i] & 0xc0) != 0x80;
	return n;
}

/* Line of a byte: libyaml names none for what is not even text. */
static size_t line_at(const struct yaml_file *file, size_t offset)
{
	size_t line = 1;
	for (size_t i = 0; i < offset && i < file->size; i++)
		line += file->text[i] == '\n';
	return line;
}

int yaml_syntax_error(const yaml_parser_t *parser, const struct yaml_file *file,
		      struct error *err)
{
	const char *problem = parser->problem ? parser->problem : "unreadable";

	if (parser->error == YAML_MEMORY_ERROR)
		return error_set(err, -ENOMEM, "out of memory");
	if (parser->error == YAML_READER_ERROR)
		return error_set(
			err, -EINVAL, "%s:%zu: not a text file in UTF-8: %s",
			file->path, line_at(file, parser->problem_offset),
			problem);

	size_t line = parser->problem_mark.line + 1;
	if (begins_with_tab(file, line))
		return error_set(err, -EINVAL,
				 "%s:%zu: a tab indents this line; YAML wants "
				 "spaces",
				 file->path, line);
	if (!parser->context)
		return error_set(err, -EINVAL, "%s:%zu: not YAML: %s",
				 file->path, line, problem);

	/* What was never closed is missed at the end of the file only. */
	size_t begin = parser->context_mark.line + 1;
	if (parser->problem_mark.index + 1 >= count_chars(file))
		line = begin;
	return error_set(err, -EINVAL,
			 "%s:%zu: not YAML: %s %s that begins in line %zu",
			 file->path, line, problem, parser->context, begin);
}

static int compare_places(const void *a, const void *b)
{
	const struct yaml_pair *x = *(const struct yaml_pair *const *)a;
	const struct yaml_pair *y = *(const struct yaml_pair *const *)b;
	int order = strcmp(x->key, y->key);
	return order ? order : (x > y) - (x < y);
}

int yaml_settle_keys(struct yaml *map, size_t n_own, const char *path,
		     struct error *err)
{
	AUTO_FREE struct yaml_pair **places =
		calloc(map->n + 1, sizeof(*places));
	if (!places)
		return error_set(err, -ENOMEM, "out of memory");
	for (size_t i = 0; i < map->n; i++)
		places[i] = &map->pairs[i];
	qsort(places, map->n, sizeof(*places), compare_places);

	const char *last = NULL;
	struct yaml_pair *first = NULL;
	for (size_t i = 0; i < map->n; i++) {
		struct yaml_pair *pair = places[i];
		if (!last || strcmp(last, pair->key) != 0) {
			last = pair->key;
			first = pair;
			continue;
		}
		if (pair < map->pairs + n_own)
			return error_set(err, -EINVAL,
					 "%s:%u: key '%s' was given in line %u "
					 "already",
					 path, pair->line, pair->key,
					 first->line);
		pair->key = NULL;
	}

	size_t n = 0;
	for (size_t i = 0; i < map->n; i++) {
		if (map->pairs[i].key)
			map->pairs[n++] = map->pairs[i];
	}
	map->n = n;
	return 0;
}
