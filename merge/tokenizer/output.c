#include "merge/tokenizer/output.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "merge/source/file.h"
#include "merge/source/overlay.h"
#include "merge/source/source.h"
#include "merge/tokenizer/chat.h"
#include "merge/tokenizer/vocabulary.h"
#include "merge/tokenizer/write.h"

struct listing {
	struct companion *items; /* (n,) */
	size_t n;
	struct notes *notes;
	struct error *err;
};

static int no_memory(struct listing *listing)
{
	return error_set(listing->err, -ENOMEM, "out of memory");
}

static struct companion *find(const struct listing *listing, const char *path)
{
	for (size_t i = 0; i < listing->n; i++) {
		if (strcmp(listing->items[i].path, path) == 0)
			return &listing->items[i];
	}
	return NULL;
}

static void drop(struct listing *listing, struct companion *companion)
{
	size_t i = (size_t)(companion - listing->items);

	free(companion->path);
	file_close(companion->file);
	memmove(companion, companion + 1,
		(listing->n - i - 1) * sizeof(*companion));
	listing->n--;
}

/* Takes ownership of file, on failure too. */
static int put(struct listing *listing, const char *path, struct file *taken)
{
	AUTO(file) file = taken;
	struct companion *old = find(listing, path);
	if (old) {
		file_close(old->file);
		old->file = TAKE(file);
		return 0;
	}

	struct companion *items =
		reallocarray(listing->items, listing->n + 1, sizeof(*items));
	AUTO_FREE char *copy = strdup(path);
	if (items)
		listing->items = items;
	if (!items || !copy)
		return no_memory(listing);
	size_t at = listing->n;
	while (at > 0 && strcmp(items[at - 1].path, path) > 0)
		at--;
	memmove(&items[at + 1], &items[at], (listing->n - at) * sizeof(*items));
	items[at] = (struct companion){.path = TAKE(copy), .file = TAKE(file)};
	listing->n++;
	return 0;
}

static int put_text(struct listing *listing, const char *path, const char *text)
{
	struct file *file = NULL;
	int r = file_of_bytes(path, text, strlen(text), &file, listing->err);

	return r < 0 ? r : put(listing, path, file);
}

/* The tokenizer files of another model in place of the donor's. */
static int replace_all(struct listing *listing, const struct source *source)
{
	struct companion *theirs = NULL;
	size_t n = 0;
	int r = source_companions(source, &theirs, &n, listing->notes,
				  listing->err);

	for (size_t i = listing->n; r == 0 && i > 0; i--) {
		if (overlay_is_tokenizer(listing->items[i - 1].path))
			drop(listing, &listing->items[i - 1]);
	}
	for (size_t i = 0; r == 0 && i < n; i++) {
		if (overlay_is_tokenizer(theirs[i].path))
			r = put(listing, theirs[i].path, TAKE(theirs[i].file));
	}
	companions_free(theirs, n);
	return r;
}

/* Files that say the same as tokenizer.json cannot follow when tokens are left
 * out of it. */
static int drop_twins(struct listing *listing)
{
	static const char *const names[] = {"vocab.json",   "merges.txt",
					    "vocab.txt",    "tokenizer.model",
					    "spiece.model", "tekken.json"};

	for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
		struct companion *twin = find(listing, names[i]);
		if (!twin)
			continue;
		drop(listing, twin);
		if (notes_add(listing->notes,
			      "%s: left out, as tokenizer.json has fewer "
			      "tokens now",
			      names[i]) < 0)
			return no_memory(listing);
	}
	return 0;
}

/* Edits a file that is there, or, with make, makes it. */
static int write_edited(struct listing *listing,
			const struct vocabulary *vocabulary, const char *name,
			bool make)
{
	AUTO_FREE char *text = NULL;
	bool there = find(listing, name);
	if (!there && !make)
		return 0;

	int r = there ? tokenizer_write(vocabulary, name, &text, listing->err)
		      : tokenizer_write_new(vocabulary, name, &text,
					    listing->err);
	return r < 0 ? r : put_text(listing, name, text);
}

static int write_tokens(struct listing *listing,
			const struct vocabulary *vocabulary)
{
	bool whole = strcmp(vocabulary->basis_file, "tokenizer.json") == 0;
	int r = 0;
	if (vocabulary->n_new == 0 && vocabulary->n_stripped == 0 &&
	    vocabulary->n_defined == 0)
		return 0;

	if (!whole && vocabulary->n_stripped > 0)
		return error_set(listing->err, -EINVAL,
				 "%s/%s: it has %u tokens without a row in the "
				 "embedding, which can only be left out of a "
				 "tokenizer.json; save the tokenizer in that "
				 "form",
				 vocabulary->basis->directory,
				 vocabulary->basis_file,
				 vocabulary->n_stripped);
	if (vocabulary->n_stripped > 0)
		r = drop_twins(listing);
	if (r == 0)
		r = write_edited(listing, vocabulary, "tokenizer.json", false);
	if (r == 0)
		r = write_edited(listing, vocabulary, "tokenizer_config.json",
				 !whole);
	return r < 0 ? r
		     : write_edited(listing, vocabulary, "added_tokens.json",
				    !whole);
}

static int write_template(struct listing *listing, const char *template)
{
	static const char config[] = "tokenizer_config.json";
	const struct companion *companion = find(listing, config);
	int r = put_text(listing, "chat_template.jinja", template);
	if (r < 0 || !companion)
		return r;

	companion = find(listing, config);
	AUTO_FREE char *text = NULL;
	r = file_load(companion->file, TOKENIZER_MOST, &text, listing->err);
	if (r == 0)
		r = chat_edit_config(&text, companion->file->path, template,
				     listing->err);
	return r < 0 ? r : put_text(listing, config, text);
}

int tokenizer_output(const struct tokenizer_output *output,
		     const struct source *donor, struct companion **companions,
		     size_t *n, struct notes *notes, struct error *err)
{
	const struct vocabulary *vocabulary = output->vocabulary;
	struct listing listing = {
		.items = *companions,
		.n = *n,
		.notes = notes,
		.err = err,
	};
	int r = 0;

	if (vocabulary && vocabulary->basis != donor)
		r = replace_all(&listing, vocabulary->basis);
	if (r == 0 && vocabulary)
		r = write_tokens(&listing, vocabulary);
	if (r == 0 && output->chat_template)
		r = write_template(&listing, output->chat_template);
	*companions = listing.items;
	*n = listing.n;
	return r;
}
