/* Sentences and digests: one line, told apart. */
#include <errno.h>
#include <string.h>

#include "tests/unit/check.h"
#include "util/error.h"
#include "util/hash.h"

static void test_sentences(void)
{
	struct error err = {""};

	CHECK(error_set(&err, -EINVAL, "tensor %s", "a\nb\x1b[31m") == -EINVAL);
	CHECK(strcmp(err.text, "tensor a?b?[31m") == 0);
	CHECK(error_prefix(&err, -EIO, "%s:%d", "r.yaml", 3) == -EIO);
	CHECK(strcmp(err.text, "r.yaml:3: tensor a?b?[31m") == 0);
	CHECK(error_set(NULL, -ENOENT, "nobody listens") == -ENOENT);

	char name[4000];
	memset(name, 'n', sizeof(name) - 1);
	name[sizeof(name) - 1] = '\0';
	error_set(&err, -EINVAL, "%s", name);
	CHECK(strlen(err.text) == sizeof(err.text) - 1);
	error_prefix(&err, -EINVAL, "prefix");
	CHECK(strncmp(err.text, "prefix: nnn", 11) == 0);
}

static void test_notes(void)
{
	struct notes notes = {0};

	CHECK(notes_add(&notes, "one %d", 1) == 0);
	CHECK(notes_add(&notes, "two") == 0);
	CHECK(notes_add(&notes, "one %d", 1) == 0);
	CHECK(notes.n_lines == 2 && strcmp(notes.lines[0], "one 1") == 0);
	notes_done(&notes);
	CHECK(notes.n_lines == 0);
}

/* The digest of two strings. */
static struct digest of_strings(const char *a, const char *b)
{
	struct hasher *hasher = hasher_new("test");

	hasher_string(hasher, a);
	hasher_string(hasher, b);
	struct digest digest = hasher_finish(hasher);
	hasher_free(hasher);
	return digest;
}

static void test_digests(void)
{
	char text[33];

	CHECK(digest_equal(of_strings("ab", "c"), of_strings("ab", "c")));
	CHECK(!digest_equal(of_strings("ab", "c"), of_strings("a", "bc")));
	CHECK(!digest_equal(of_strings("", NULL), of_strings(NULL, "")));
	CHECK(!digest_equal(digest_of("x", 1, 0), digest_of("x", 1, 1)));
	digest_format((struct digest){0x0123, 0xffull << 56}, text);
	CHECK(strcmp(text, "0000000000000123ff00000000000000") == 0);
}

int main(void)
{
	test_sentences();
	test_notes();
	test_digests();
	return 0;
}
