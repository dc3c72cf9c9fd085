/* What is refused, and edits that touch nothing else. */
#include <errno.h>
#include <string.h>

#include "tests/unit/check.h"
#include "util/json.h"

static int parse(const char *text, size_t size)
{
	AUTO(cJSON) value = NULL;
	struct error err = {""};
	int r = json_parse(text, size, "dir/x.json", &value, &err);

	if (r < 0) {
		CHECK(r == -EINVAL);
		CHECK(strncmp(err.text, "dir/x.json", 10) == 0);
		CHECK(!value);
	}
	return r;
}

static void test_accepted(void)
{
	static const char *const good[] = {
		"{}",
		" [1, 2.5, -3e2, true, null] \n",
		"\"\\u00e9\\ud83d\\ude00\"",
		"{\"a\": {\"a\": 1}, \"b\": \"\\\\u0000\"}",
		"\"\xc3\xa9\"",
		"7"};

	for (size_t i = 0; i < ARRAY_SIZE(good); i++)
		CHECK(parse(good[i], strlen(good[i])) == 0);
}

static void test_refused(void)
{
	static const char *const bad[] = {"{\x1a}",
					  "\"a\nb\"",
					  "",
					  "  ",
					  "{",
					  "{} {}",
					  "{]",
					  "[1,]",
					  "nul",
					  "{\"a\": 1, \"a\": 2}",
					  "{a: 1}",
					  "\"\\u0000\"",
					  "\"\\ud800\"",
					  "\"\xff\"",
					  "\"\xc0\x80\"",
					  "\"\xed\xa0\x80\"",
					  "[{\"k\":{\"x\":1,\"x\":1}}]"};

	for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
		CHECK(parse(bad[i], strlen(bad[i])) < 0);
	CHECK(parse("{\"a\0\": 1}", 9) < 0);

	char deep[200000];
	memset(deep, '[', sizeof(deep));
	CHECK(parse(deep, sizeof(deep)) < 0);
	memset(deep, '[', 65);
	memset(deep + 65, ']', 65);
	CHECK(parse(deep, 130) < 0);
	memset(deep, '[', 64);
	memset(deep + 64, ']', 64);
	CHECK(parse(deep, 128) == 0);
}

static void test_numbers(void)
{
	static const struct {
		const char *text;
		bool good;
		uint64_t value;
	} cases[] = {
		{"0", true, 0},
		{"17", true, 17},
		{"9007199254740992", true, 9007199254740992},
		{"1e3", true, 1000},
		{"-1", false, 0},
		{"1.5", false, 0},
		{"1e30", false, 0},
		{"\"1\"", false, 0},
		{"true", false, 0},
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		AUTO(cJSON) item = cJSON_Parse(cases[i].text);
		uint64_t value = 0;
		CHECK(json_u64(item, &value) == cases[i].good);
		CHECK(value == cases[i].value);
	}
}

static void test_at(void)
{
	AUTO(cJSON)
	root = cJSON_Parse("{\"a\": {\"b\": {\"c\": 7}}, \"d\": 1}");

	CHECK(json_at(root, "a.b.c")->valueint == 7);
	CHECK(json_at(root, "d")->valueint == 1);
	CHECK(!json_at(root, "a.x"));
	CHECK(!json_at(root, "d.e"));
}

static void test_edit(void)
{
	static const struct {
		const char *before, *key, *value, *after;
	} cases[] = {
		{"{\"a\": 1, \"b\" : [2, {\"a\": 3}]}\n", "a", "\"x\"",
		 "{\"a\": \"x\", \"b\" : [2, {\"a\": 3}]}\n"},
		{"{\"s\": \"}\\\"{\", \"b\" : [2]}", "b", "[]",
		 "{\"s\": \"}\\\"{\", \"b\" : []}"},
		{"{\n  \"a\": 1\n}\n", "b", "2",
		 "{\n  \"a\": 1,\n  \"b\": 2\n}\n"},
		{"{}", "b", "2", "{\"b\": 2}"},
		{"{\"t\": {\"n\": 1, \"m\": 2}, \"n\": 3}", "t.m", "9",
		 "{\"t\": {\"n\": 1, \"m\": 9}, \"n\": 3}"},
		{"{\"t\": {\"n\": 1}}", "t.k", "true",
		 "{\"t\": {\"n\": 1,\"k\": true}}"},
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		AUTO_FREE char *text = strdup(cases[i].before);
		CHECK(json_edit(&text, cases[i].key, cases[i].value) == 0);
		CHECK(strcmp(text, cases[i].after) == 0);
		CHECK(parse(text, strlen(text)) == 0);
	}
	AUTO_FREE char *text = strdup("{\"a\": 1}");
	CHECK(json_edit(&text, "x.y", "1") == -ENOENT);
	CHECK(json_edit(&text, "a.y", "1") == -ENOENT);
	CHECK(strcmp(text, "{\"a\": 1}") == 0);
}

static void test_quote(void)
{
	AUTO_FREE char *quoted = json_quote("a\"b\\c\n\x01\xc3\xa9");

	CHECK(strcmp(quoted, "\"a\\\"b\\\\c\\u000a\\u0001\xc3\xa9\"") == 0);
	CHECK(parse(quoted, strlen(quoted)) == 0);
}

int main(void)
{
	test_accepted();
	test_refused();
	test_numbers();
	test_at();
	test_edit();
	test_quote();
	return 0;
}
