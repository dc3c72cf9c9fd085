#include "merge/recipe/yaml.h"

#include <errno.h>
#include <string.h>

#include "tests/unit/check.h"
#include "util/text.h"

static struct yaml_file *parse(const char *text)
{
	struct yaml_file *file = NULL;
	struct error err = {""};
	if (yaml_parse(text, strlen(text), "f", &file, &err) < 0)
		fprintf(stderr, "%s\n", err.text);
	CHECK(file);
	return file;
}

static void check_refused(const char *text, size_t size, const char *sentence)
{
	AUTO(yaml_file) file = NULL;
	struct error err = {""};
	CHECK(yaml_parse(text, size, "f", &file, &err) == -EINVAL);
	CHECK(!file);
	if (strncmp(err.text, sentence, strlen(sentence)) != 0)
		fprintf(stderr, "got: %s\n", err.text);
	CHECK(strncmp(err.text, sentence, strlen(sentence)) == 0);
	CHECK(!strchr(err.text, '\n'));
}

static void check_bad(const char *text, const char *sentence)
{
	check_refused(text, strlen(text), sentence);
}

static void check_tree(void)
{
	AUTO(yaml_file)
	file = parse("# first\n"
		     "a: 1\n"
		     "b: [x, 'y', ~, null, '']\n"
		     "c:\n"
		     "  d: |\n"
		     "    5\n"
		     "  e:\n");
	CHECK(file->n_documents == 1);

	const struct yaml *root = file->documents[0];
	CHECK(root->kind == YAML_MAP && root->n == 3 && root->line == 2);
	CHECK(strcmp(root->pairs[2].key, "c") == 0 && root->pairs[2].line == 4);

	const struct yaml *a = yaml_get(root, "a");
	CHECK(a->kind == YAML_SCALAR && !a->quoted && a->line == 2);
	CHECK(strcmp(a->text, "1") == 0);

	const struct yaml *b = yaml_get(root, "b");
	CHECK(b->kind == YAML_LIST && b->n == 5);
	CHECK(!b->items[0]->quoted && b->items[1]->quoted);
	CHECK(b->items[2]->kind == YAML_NULL && b->items[3]->kind == YAML_NULL);
	CHECK(b->items[4]->kind == YAML_SCALAR);

	const struct yaml *c = yaml_get(root, "c");
	CHECK(yaml_get(c, "d")->quoted);
	CHECK(yaml_get(c, "e")->kind == YAML_NULL);
	CHECK(!yaml_get(c, "f") && !yaml_get(a, "x"));
}

static void check_aliases(void)
{
	AUTO(yaml_file)
	file = parse("p: &p {w: 1, d: 2}\n"
		     "q: &q {d: 3, g: 4}\n"
		     "unused: &u 5\n"
		     "one: {<<: *p, d: 9}\n"
		     "two: {<<: [*q, *p]}\n"
		     "same: *p\n"
		     "'<<': plain\n");
	const struct yaml *root = file->documents[0];

	const struct yaml *one = yaml_get(root, "one");
	CHECK(one->n == 2);
	CHECK(strcmp(yaml_get(one, "d")->text, "9") == 0);
	CHECK(strcmp(yaml_get(one, "w")->text, "1") == 0);

	const struct yaml *two = yaml_get(root, "two");
	CHECK(two->n == 3);
	CHECK(strcmp(yaml_get(two, "d")->text, "3") == 0);

	CHECK(yaml_get(root, "same") == yaml_get(root, "p"));
	CHECK(yaml_get(root, "<<")->kind == YAML_SCALAR);
	CHECK(yaml_is_shared(yaml_get(root, "p")));
	CHECK(!yaml_is_shared(yaml_get(root, "unused")));

	AUTO(yaml_file) again = parse("a: &x 1\nb: &x 2\nc: *x\n");
	CHECK(strcmp(yaml_get(again->documents[0], "c")->text, "2") == 0);
}

static void check_documents(void)
{
	static const struct {
		const char *text;
		size_t n;
	} rows[] = {
		{"", 0},
		{"# nothing\n", 0},
		{"---\n", 0},
		{"a: 1\n---\n", 1},
		{"a: 1\n...\n", 1},
		{"---\n---\na: 1\n", 1},
		{"a: 1\n---\nb: 2\n---\nc: 3\n...\n", 3},
		{"\xef\xbb\xbf"
		 "a: 1\n",
		 1},
		{"--- ~\n", 1},
		{"a: 1\r\nb: 2\r\n", 1},
	};
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		AUTO(yaml_file) file = parse(rows[i].text);
		CHECK(file->n_documents == rows[i].n);
	}
	/* Anchors end with their document. */
	check_bad("a: &x 1\n---\nb: *x\n", "f:3: no anchor '&x'");
}

static void check_tags(void)
{
	AUTO(yaml_file)
	file = parse("a: !!str 5\nb: !!float '5'\nc: ! 5\nd: !!map {}\n");
	const struct yaml *root = file->documents[0];
	CHECK(yaml_get(root, "a")->quoted);
	CHECK(!yaml_get(root, "b")->quoted);
	CHECK(yaml_get(root, "c")->quoted);

	check_bad("a: 1\nb: !!python/name:os.system ''\n", "f:2: tag ");
	check_bad("a: !!binary aGk=\n", "f:1: tag ");
	check_bad("a: !!seq {}\n", "f:1: tag ");
	check_bad("a: !mine [1]\n", "f:1: tag ");
}

static void check_damage(void)
{
	check_bad("a: 1\nb: 2\na: 3\n",
		  "f:3: key 'a' was given in line 1 already");
	check_bad("x: {a: 1, 'a': 2}\n", "f:1: key 'a' was given");
	check_bad("[1]: 2\n", "f:1: a key must be a word");
	check_bad("~: 2\n", "f:1: a key must be a word");
	check_bad("a: 1\n<<: 3\n", "f:2: '<<' takes a map");
	check_bad("<<: [[{a: 1}]]\n", "f:1: '<<' takes a map");
	check_bad("a: *b\n", "f:1: no anchor '&b' comes before '*b'");
	check_bad("a: 1\nb: &b [1, [*b]]\n", "f:2: alias '*b' stands inside");
	check_bad("b: &b {<<: *b}\n", "f:1: alias '*b' stands inside");
	check_bad("a:\n\t- b\n", "f:2: a tab indents this line");
	check_bad("a: 1\nb: [1, 2\n", "f:2: not YAML: ");
	check_bad("a: 1\nb: 'x\n\n\n", "f:2: not YAML: ");
	check_bad("a: 1\nb: @\n", "f:2: not YAML: ");
	check_bad("a: 1\nb: \xff\n", "f:2: not a text file in UTF-8");
	check_bad("\xff\xfe"
		  "a\n",
		  "f:1: not a text file in UTF-8");
	check_bad("a: \"x\\0y\"\n", "f:1: a NUL character inside a text");
	check_refused("a: 1\n\0b", 7, "f:2: not a text file in UTF-8");
}

static void check_bounds(void)
{
	struct text text = {0};
	for (unsigned i = 0; i < 65; i++)
		text_puts(&text, "[");
	AUTO_FREE char *deep = text_take(&text);
	check_bad(deep, "f:1: nested deeper than 64 levels");

	/* 10^9 values for whoever would walk it. */
	text_puts(&text, "- &a0 x\n");
	for (unsigned i = 0; i < 9; i++) {
		text_printf(&text, "- &a%u [", i + 1);
		for (unsigned j = 0; j < 10; j++)
			text_printf(&text, "%s*a%u", j ? ", " : "", i);
		text_puts(&text, "]\n");
	}
	AUTO_FREE char *bomb = text_take(&text);
	check_bad(bomb, "f:6: more than 100000 values");

	/* Merge keys copy pairs, each time. */
	text_puts(&text, "- &m {");
	for (unsigned i = 0; i < 1000; i++)
		text_printf(&text, "k%u: 1, ", i);
	text_puts(&text, "}\n");
	for (unsigned i = 0; i < 200; i++)
		text_puts(&text, "- {<<: *m}\n");
	AUTO_FREE char *merges = text_take(&text);
	check_bad(merges, "f:");

	size_t size = (1u << 20) + 1;
	AUTO_FREE char *large = malloc(size);
	CHECK(large);
	memset(large, ' ', size);
	check_refused(large, size, "f: larger than 1 MiB");
}

static void check_load(void)
{
	AUTO(yaml_file) file = NULL;
	struct error err = {""};
	CHECK(yaml_load("/no/such/file", &file, &err) == -ENOENT);
	CHECK(strcmp(err.text, "/no/such/file: No such file or directory") ==
	      0);
	CHECK(yaml_load("/", &file, &err) == -EISDIR);
	CHECK(!file);
}

int main(void)
{
	check_tree();
	check_aliases();
	check_documents();
	check_tags();
	check_damage();
	check_bounds();
	check_load();
	return 0;
}
