/*
 * JSON from strangers: cJSON behind checks that it does not make.
 *
 * Refused, each with a sentence naming `path`: text that is not UTF-8, NUL
 * bytes raw or escaped (a C string would be cut there), lone surrogates,
 * nesting deeper than 64, a key twice in one object, anything after the value.
 */
#ifndef UTIL_JSON_H
#define UTIL_JSON_H

#include <cjson/cJSON.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "util/error.h"
#include "util/macros.h"

DEFINE_AUTO(cJSON, cJSON_Delete);

/* text needs no NUL at its end. -EINVAL or -ENOMEM. */
int json_parse(const char *text, size_t size, const char *path, cJSON **ret,
	       struct error *err);

/* A new object at the end of a list, or NULL if out of memory. */
cJSON *json_append_object(cJSON *list);

/* Is item a number without a fraction in [0, 2^53]? */
bool json_u64(const cJSON *item, uint64_t *ret);

/* Member of nested objects by dotted path ("text_config.vocab_size"). */
const cJSON *json_at(const cJSON *root, const char *dotted);

/*
 * Edits a text that json_parse() accepted, leaving every other byte as it is:
 * sets the member at `dotted` to `value` (JSON text). A missing last member is
 * added at the end of its object, indented as its neighbours; missing parent
 * objects are -ENOENT. *text is malloc'ed and replaced.
 */
int json_edit(char **text, const char *dotted, const char *value);

/* Writes `text` as a JSON string with quotes; malloc'ed, NULL if out of memory.
 */
char *json_quote(const char *text);

#endif
