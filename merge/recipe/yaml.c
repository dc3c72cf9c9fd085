#include "merge/recipe/yaml.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>

#include "merge/recipe/yaml_build.h"

#define MAX_SIZE (1u << 20)

void yaml_file_free(struct yaml_file *file)
{
	if (!file)
		return;
	while (file->nodes) {
		struct yaml *node = file->nodes;
		file->nodes = node->next;
		free(node->text);
		free(node->items);
		free(node->pairs);
		free(node);
	}
	free(file->documents);
	free(file->text);
	free(file->path);
	free(file);
}

const struct yaml *yaml_get(const struct yaml *map, const char *key)
{
	if (map->kind != YAML_MAP)
		return NULL;
	for (size_t i = 0; i < map->n; i++) {
		if (strcmp(map->pairs[i].key, key) == 0)
			return map->pairs[i].value;
	}
	return NULL;
}

bool yaml_is_shared(const struct yaml *node)
{
	if (node->aliased)
		return true;
	for (size_t i = 0; i < node->n; i++) {
		if (yaml_is_shared(node->kind == YAML_LIST
					   ? node->items[i]
					   : node->pairs[i].value))
			return true;
	}
	return false;
}

/* Takes ownership of text. */
static int parse(char *text, size_t size, const char *path,
		 struct yaml_file **ret, struct error *err)
{
	AUTO(yaml_file) file = calloc(1, sizeof(*file));
	if (!file) {
		free(text);
		return error_set(err, -ENOMEM, "out of memory");
	}
	file->text = text;
	file->size = size;
	file->path = strdup(path);
	if (!file->path)
		return error_set(err, -ENOMEM, "out of memory");
	if (size > MAX_SIZE)
		return error_set(err, -EINVAL,
				 "%s: larger than 1 MiB, so not a recipe",
				 path);

	int r = yaml_build(file, err);
	if (r < 0)
		return r;
	*ret = TAKE(file);
	return 0;
}

int yaml_parse(const char *text, size_t size, const char *path,
	       struct yaml_file **ret, struct error *err)
{
	char *copy = malloc(size + 1);
	if (!copy)
		return error_set(err, -ENOMEM, "out of memory");
	if (size)
		memcpy(copy, text, size);
	copy[size] = '\0';
	return parse(copy, size, path, ret, err);
}

int yaml_load(const char *path, struct yaml_file **ret, struct error *err)
{
	AUTO_CLOSE int fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return error_set(err, -errno, "%s: %s", path, strerror(errno));

	/* A pipe has no size to ask for, and is as good as a file. */
	AUTO_FREE char *text = malloc(MAX_SIZE + 2);
	if (!text)
		return error_set(err, -ENOMEM, "out of memory");
	size_t size = 0;
	while (size <= MAX_SIZE) {
		ssize_t n = read(fd, text + size, MAX_SIZE + 1 - size);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return error_set(err, -errno, "%s: %s", path,
					 strerror(errno));
		if (n == 0)
			break;
		size += (size_t)n;
	}
	text[size] = '\0';
	return parse(TAKE(text), size, path, ret, err);
}
