/*
 * What the editors of config.json share.
 */
#ifndef MERGE_OUTPUT_CONFIG_PRIVATE_H
#define MERGE_OUTPUT_CONFIG_PRIVATE_H

#include <cjson/cJSON.h>
#include <stdbool.h>

struct layer_count;
struct notes;
struct plan;
struct source;

/* A config.json being edited. */
struct config_edit {
	const struct plan *plan; /* borrowed, as are config and notes */
	const cJSON *config;	 /* the donor's, as it was */
	char *text;		 /* with the edits so far; owned */
	struct notes *notes;
};

/*
 * Sets member `key` of the object at dotted path `object` ("" for the top),
 * unless the donor's has this value already. value is JSON text. Members that
 * a dotted path cannot name are left alone.
 */
int config_set(struct config_edit *edit, const char *object, const char *key,
	       const char *value);

/* Dotted path of a member; malloc'ed, NULL if out of memory. */
char *config_path(const char *object, const char *key);

/* The object at a dotted path, "" for the top; NULL if it is not an object. */
const cJSON *config_object(const cJSON *config, const char *object);

/* NULL if object is NULL or has no such member. */
const cJSON *config_member(const cJSON *object, const char *key);

/* Is it a nested object that describes a part of the model? */
bool config_is_part(const cJSON *item);

/* Makes config.json speak of the output's vocabulary. */
int config_edit_tokens(struct config_edit *edit);

/*
 * Makes config.json speak of the output's layers: the count and its twins,
 * numbers that mean layers, lists. What cannot be said in the donor's terms
 * becomes a note.
 */
int config_edit_layers(struct config_edit *edit,
		       const struct layer_count *depth);

/* An object of config.json that describes the layers of one module. */
struct scope {
	struct config_edit *edit;
	const struct layer_count *depth;
	const char *path;    /* of the object, "" for the top */
	const char *counter; /* the key in it that counts the layers */
	const cJSON *object;
};

/*
 * The object of the source's config.json that corresponds to the scope, or
 * NULL. The same language model may be described at the top of one file and in
 * the text_config of another.
 */
const cJSON *scope_object_of(const struct scope *scope,
			     const struct source *source);

/*
 * Edits a member of the scope's object if it is a list (or a string) with an
 * element for each layer, or a list of layers; else leaves it.
 */
int scope_edit_list(const struct scope *scope, const cJSON *item);

#endif
