#include "util/text.h"

#include <errno.h>
#include <stdint.h>
#include <string.h>

#include "tests/unit/check.h"

static void check_growing(void)
{
	struct text text = {0};
	text_puts(&text, "layers");
	text_printf(&text, ".%d", 12);
	text_append(&text, "abc", 1);
	CHECK(text.length == strlen("layers.12a"));

	AUTO_FREE char *short_one = text_take(&text);
	CHECK(strcmp(short_one, "layers.12a") == 0);
	CHECK(!text.data && !text.length);

	for (unsigned i = 0; i < 5000; i++)
		text_printf(&text, "%u,", i % 10);
	AUTO_FREE char *long_one = text_take(&text);
	CHECK(strlen(long_one) == 10000);
	CHECK(strcmp(long_one + 9994, "7,8,9,") == 0);

	AUTO_FREE char *empty = text_take(&text);
	CHECK(strcmp(empty, "") == 0);
	text_done(&text);
}

static void check_failure_stays(void)
{
	struct text text = {.length = SIZE_MAX - 1};
	text_puts(&text, "xx");
	CHECK(text.failed);
	text_puts(&text, "y");
	CHECK(!text_take(&text));
}

static void check_nearest(void)
{
	static const char *const words[] = {"linear", "slerp",	 "dare_ties",
					    "weight", "density", "merge_method",
					    "t",      NULL};
	CHECK(strcmp(text_nearest("dare-ties", words), "dare_ties") == 0);
	CHECK(strcmp(text_nearest("Linear", words), "linear") == 0);
	CHECK(strcmp(text_nearest("weigth", words), "weight") == 0);
	CHECK(strcmp(text_nearest("densty", words), "density") == 0);
	CHECK(strcmp(text_nearest("merge", words), "merge_method") == 0);
	CHECK(strcmp(text_nearest("dare", words), "dare_ties") == 0);
	CHECK(!text_nearest("x", words));
	CHECK(!text_nearest("bananas", words));
	CHECK(!text_nearest("", words));

	char long_word[5000];
	memset(long_word, 'w', sizeof(long_word) - 1);
	long_word[sizeof(long_word) - 1] = '\0';
	CHECK(!text_nearest(long_word, words));
}

static void check_natural(void)
{
	static const char *const sorted[] = {
		"",	      "a",
		"a.1",	      "a.2.b",
		"a.002.b.c",  "a.10",
		"layers.2",   "layers.10",
		"layers.20",  "layers.20.mlp",
		"layers.20x", "m",
	};
	for (size_t i = 0; i < ARRAY_SIZE(sorted); i++) {
		for (size_t j = 0; j < ARRAY_SIZE(sorted); j++) {
			int order = text_compare_natural(sorted[i], sorted[j]);
			CHECK(order == (i < j ? -1 : i > j));
		}
	}
	CHECK(text_compare_natural("a1", "a01") != 0);
	CHECK(text_compare_natural("a1", "a01") ==
	      -text_compare_natural("a01", "a1"));
}

static void check_size(const char *text, unsigned long long expected)
{
	unsigned long long size = 0;
	CHECK(text_parse_size(text, &size) == 0);
	CHECK(size == expected);
}

static void check_sizes(void)
{
	unsigned long long size = 77;

	check_size("4096", 4096);
	check_size("0", 0);
	check_size("5G", 5000000000);
	check_size("5GB", 5000000000);
	check_size("512M", 512000000);
	check_size("1.5Gi", 1610612736);
	check_size("1.5 GiB", 1610612736);
	check_size("0.1k", 100);
	check_size("2Ti", 2199023255552);
	check_size("18446744073709551615", 18446744073709551615U);

	static const char *const wrong[] = {"",	   "G",	  "5X",	 "-5",	"5.",
					    ".5G", "5B",  "5Gx", "1.5", "5Gib2",
					    "0x5", "+5G", " 5",	 "1e9"};
	for (size_t i = 0; i < ARRAY_SIZE(wrong); i++)
		CHECK(text_parse_size(wrong[i], &size) == -EINVAL);
	CHECK(text_parse_size("18446744073709551616", &size) == -ERANGE);
	CHECK(text_parse_size("99999999999T", &size) == -ERANGE);
	CHECK(size == 77);
}

static void check_format(void)
{
	char buffer[16];
	CHECK(strcmp(text_format_size(0, buffer), "0 B") == 0);
	CHECK(strcmp(text_format_size(999, buffer), "999 B") == 0);
	CHECK(strcmp(text_format_size(1000, buffer), "1.00 kB") == 0);
	CHECK(strcmp(text_format_size(1310000000, buffer), "1.31 GB") == 0);
	CHECK(strcmp(text_format_size(16060000000, buffer), "16.1 GB") == 0);
	CHECK(strcmp(text_format_size(160600000, buffer), "161 MB") == 0);
	CHECK(strcmp(text_format_size(999999, buffer), "1.00 MB") == 0);
	CHECK(strcmp(text_format_size(~0ULL, buffer), "18.4 EB") == 0);
}

int main(void)
{
	check_growing();
	check_failure_stays();
	check_nearest();
	check_natural();
	check_sizes();
	check_format();
	return 0;
}
