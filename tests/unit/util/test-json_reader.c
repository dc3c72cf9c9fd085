/* The reader agrees with json.h on what is JSON, and gives what is in it. */
#include <errno.h>
#include <string.h>

#include "tests/unit/check.h"
#include "util/json.h"
#include "util/json_reader.h"

static int skim(const char *text, size_t size)
{
	struct json_reader reader;
	struct error err = {""};

	json_reader_init(&reader, text, size, "dir/x.json", &err);
	int r = json_reader_skip(&reader);
	if (r == 0)
		r = json_reader_finish(&reader);
	json_reader_done(&reader);
	if (r < 0)
		CHECK(r == -EINVAL &&
		      strncmp(err.text, "dir/x.json:", 11) == 0);
	return r;
}

static void test_same_grammar(void)
{
	static const char *const texts[] = {
		"{}",
		" [1, 2.5, -3e2, true, null] \n",
		"\"\\u00e9\\ud83d\\ude00\"",
		"\"\\n\"",
		"{\"a\": {\"a\": 1}, \"b\": \"\\\\u0000\"}",
		"\"\xc3\xa9\"",
		"7",
		"",
		"[1,]",
		"[,1]",
		"{\"a\" 1}",
		"{\"a\": 1,}",
		"{a: 1}",
		"[1] 2",
		"\"\\u0000\"",
		"\"\\ud800\"",
		"\"\\udc00x\"",
		"\"\xff\"",
		"\"\xed\xa0\x80\"",
		"\"a\nb\"",
		"\"open",
		"\"\\x\"",
		"[[[",
		"nul",
		"[1, 2",
	};

	for (size_t i = 0; i < ARRAY_SIZE(texts); i++) {
		AUTO(cJSON) value = NULL;
		size_t size = strlen(texts[i]);
		int r = json_parse(texts[i], size, "x", &value, NULL);
		CHECK((skim(texts[i], size) < 0) == (r < 0));
	}
}

static void test_depth(void)
{
	char text[2 * JSON_DEPTH + 2];

	memset(text, '[', JSON_DEPTH);
	memset(text + JSON_DEPTH, ']', JSON_DEPTH);
	CHECK(skim(text, 2 * JSON_DEPTH) == 0);
	memset(text, '[', JSON_DEPTH + 1);
	memset(text + JSON_DEPTH + 1, ']', JSON_DEPTH + 1);
	CHECK(skim(text, 2 * JSON_DEPTH + 2) < 0);
}

static void test_walk(void)
{
	static const char text[] =
		"{\"a\\u0062\": [7, 4294967295], \"t\": true, \"s\": "
		"\"x\\n\\ud83d\\ude00y\"}";
	struct json_reader reader;
	uint32_t value = 0;
	bool truth = false;

	json_reader_init(&reader, text, sizeof(text) - 1, "x", NULL);
	CHECK(json_reader_enter(&reader, '{') == 0);
	CHECK(json_reader_next(&reader) == 1 && json_reader_is(&reader, "ab"));
	CHECK(*reader.element == '"');
	CHECK(json_reader_enter(&reader, '[') == 0);
	CHECK(json_reader_next(&reader) == 1);
	CHECK(json_reader_u32(&reader, &value) == 0 && value == 7);
	CHECK(json_reader_next(&reader) == 1);
	CHECK(json_reader_u32(&reader, &value) == 0 && value == UINT32_MAX);
	CHECK(json_reader_next(&reader) == 0);
	CHECK(json_reader_next(&reader) == 1 && json_reader_is(&reader, "t"));
	CHECK(json_reader_bool(&reader, &truth) == 0 && truth);
	CHECK(json_reader_next(&reader) == 1);
	CHECK(json_reader_string(&reader) == 0);
	CHECK(json_reader_is(&reader, "x\n\xf0\x9f\x98\x80y"));
	CHECK(json_reader_next(&reader) == 0);
	CHECK(json_reader_finish(&reader) == 0);
	json_reader_done(&reader);
}

static void test_numbers(void)
{
	static const char *const bad[] = {
		"-1", "1.0", "1e2", "4294967296", "01", "99999999999", "\"1\""};

	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		struct json_reader reader;
		uint32_t value;
		json_reader_init(&reader, bad[i], strlen(bad[i]), "x", NULL);
		CHECK(json_reader_u32(&reader, &value) == -EINVAL);
		json_reader_done(&reader);
	}
}

int main(void)
{
	test_same_grammar();
	test_depth();
	test_walk();
	test_numbers();
	return 0;
}
