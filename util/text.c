#include "util/text.h"

#include <ctype.h>
#include <errno.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#define WORD_SIZE 64 /* longest word that is worth a suggestion */

static bool make_room(struct text *text, size_t size)
{
	size_t least;
	if (text->failed ||
	    __builtin_add_overflow(text->length, size, &least) ||
	    __builtin_add_overflow(least, 1, &least)) {
		text->failed = true;
		return false;
	}
	if (least <= text->room)
		return true;

	size_t room = text->room < SIZE_MAX / 2 ? text->room * 2 : least;
	if (room < least)
		room = least < 64 ? 64 : least;
	char *data = realloc(text->data, room);
	if (!data) {
		text->failed = true;
		return false;
	}
	text->data = data;
	text->room = room;
	return true;
}

void text_append(struct text *text, const char *data, size_t size)
{
	if (!make_room(text, size))
		return;
	if (size)
		memcpy(text->data + text->length, data, size);
	text->length += size;
	text->data[text->length] = '\0';
}

void text_puts(struct text *text, const char *string)
{
	text_append(text, string, strlen(string));
}

void text_printf(struct text *text, const char *format, ...)
{
	va_list args, again;
	va_start(args, format);
	va_copy(again, args);

	int length = vsnprintf(NULL, 0, format, args);
	if (length < 0) {
		text->failed = true;
	} else if (make_room(text, (size_t)length)) {
		vsnprintf(text->data + text->length, (size_t)length + 1, format,
			  again);
		text->length += (size_t)length;
	}
	va_end(again);
	va_end(args);
}

char *text_take(struct text *text)
{
	text_append(text, "", 0);
	char *data = text->failed ? NULL : TAKE(text->data);
	text_done(text);
	return data;
}

void text_done(struct text *text)
{
	free(text->data);
	*text = (struct text){0};
}

/* Words differ in what a person would call their letters, not in case or in
 * which stroke joins them. */
static int fold(char c)
{
	return c == '-' ? '_' : tolower((unsigned char)c);
}

static unsigned min_of(unsigned a, unsigned b)
{
	return a < b ? a : b;
}

/*
 * Edit distance in which swapping two neighbours is one edit (Damerau's, in
 * its "optimal string alignment" form): rows of the usual table, the last three
 * of them kept.
 */
static unsigned distance(const char *a, size_t n_a, const char *b, size_t n_b)
{
	unsigned rows[3][WORD_SIZE + 1];
	for (size_t j = 0; j <= n_b; j++)
		rows[0][j] = (unsigned)j;

	for (size_t i = 1; i <= n_a; i++) {
		unsigned *row = rows[i % 3];
		const unsigned *above = rows[(i + 2) % 3];
		const unsigned *two_above = rows[(i + 1) % 3];

		row[0] = (unsigned)i;
		for (size_t j = 1; j <= n_b; j++) {
			bool same = fold(a[i - 1]) == fold(b[j - 1]);
			row[j] = min_of(above[j] + 1, row[j - 1] + 1);
			row[j] = min_of(row[j], above[j - 1] + !same);
			if (i > 1 && j > 1 &&
			    fold(a[i - 1]) == fold(b[j - 2]) &&
			    fold(a[i - 2]) == fold(b[j - 1]))
				row[j] = min_of(row[j], two_above[j - 2] + 1);
		}
	}
	return rows[n_a % 3][n_b];
}

const char *text_nearest(const char *word, const char *const *words)
{
	size_t length = strnlen(word, WORD_SIZE + 1);
	if (!length || length > WORD_SIZE)
		return NULL;

	/* One edit for every three letters, so that short words which only
	 * share a letter are not taken for each other. */
	unsigned least = length < 6 ? 2 : (unsigned)length / 3 + 1;
	const char *nearest = NULL;
	const char *longer = NULL; /* begins with the word */
	for (; *words; words++) {
		size_t n = strlen(*words);
		if (n > WORD_SIZE)
			continue;
		unsigned d = distance(word, length, *words, n);
		if (d < least && d < n) {
			least = d;
			nearest = *words;
		}
		if (!longer && length >= 3 &&
		    strncasecmp(word, *words, length) == 0)
			longer = *words;
	}
	return nearest ? nearest : longer;
}

static const char *skip_zeros(const char *digits)
{
	while (*digits == '0')
		digits++;
	return digits;
}

static size_t count_digits(const char *text)
{
	size_t n = 0;
	while (isdigit((unsigned char)text[n]))
		n++;
	return n;
}

int text_compare_natural(const char *a, const char *b)
{
	const char *whole_a = a, *whole_b = b;

	while (*a && *b) {
		if (!isdigit((unsigned char)*a) ||
		    !isdigit((unsigned char)*b)) {
			if (*a != *b)
				break;
			a++;
			b++;
			continue;
		}

		/* More digits are a larger number, once zeros are skipped. */
		a = skip_zeros(a);
		b = skip_zeros(b);
		size_t n_a = count_digits(a), n_b = count_digits(b);
		if (n_a != n_b)
			return n_a < n_b ? -1 : 1;
		int order = memcmp(a, b, n_a);
		if (order)
			return order < 0 ? -1 : 1;
		a += n_a;
		b += n_b;
	}

	int order = (unsigned char)*a - (unsigned char)*b;
	if (!order)
		order = strcmp(whole_a, whole_b); /* 01 and 1 differ */
	return order < 0 ? -1 : order > 0;
}

/* Bytes of a unit as written behind a number, or 0. */
static uint64_t unit_size(const char *unit)
{
	static const char letters[] = "KMGT";

	if (!*unit)
		return 1;
	const char *at = strchr(letters, toupper((unsigned char)*unit));
	if (!at)
		return 0;
	bool binary = unit[1] == 'i';
	const char *rest = unit + 1 + binary;
	if (strcasecmp(rest, "B") != 0 && *rest)
		return 0;

	uint64_t size = 1;
	for (const char *letter = letters; letter <= at; letter++)
		size *= binary ? 1024 : 1000;
	return size;
}

int text_parse_size(const char *text, unsigned long long *ret)
{
	size_t n_whole = count_digits(text);
	const char *fraction = text + n_whole;
	size_t n_fraction = 0;
	if (*fraction == '.') {
		n_fraction = count_digits(++fraction);
		if (!n_fraction)
			return -EINVAL;
	}
	const char *end = fraction + n_fraction;
	while (*end == ' ')
		end++;
	uint64_t unit = unit_size(end);
	if (!n_whole || !unit || (unit == 1 && n_fraction))
		return -EINVAL;

	uint64_t value = 0;
	for (size_t i = 0; i < n_whole; i++) {
		if (__builtin_mul_overflow(value, 10, &value) ||
		    __builtin_add_overflow(value, text[i] - '0', &value))
			return -ERANGE;
	}
	if (__builtin_mul_overflow(value, unit, &value))
		return -ERANGE;

	/* Digits from the last to the first: each step is a division by 10 of
	 * what the later ones gave, exact to below one byte. */
	long double part = 0;
	for (size_t i = n_fraction; i-- > 0;)
		part = (part + (fraction[i] - '0')) / 10;
	uint64_t bytes = (uint64_t)(part * unit + 1e-6L);
	if (__builtin_add_overflow(value, bytes, &value))
		return -ERANGE;
	*ret = value;
	return 0;
}

char *text_format_size(unsigned long long size, char buffer[16])
{
	static const char *const units[] = {"kB", "MB", "GB", "TB", "PB", "EB"};

	if (size < 1000) {
		snprintf(buffer, 16, "%u B", (unsigned)size);
		return buffer;
	}

	double value = (double)size / 1000;
	size_t i = 0;
	/* 999.5 would be printed as 1000. */
	while (value >= 999.5 && i + 1 < ARRAY_SIZE(units)) {
		value /= 1000;
		i++;
	}
	int places = value < 9.995 ? 2 : value < 99.95 ? 1 : 0;
	snprintf(buffer, 16, "%.*f %s", places, value, units[i]);
	return buffer;
}

bool text_ends(const char *text, const char *ending)
{
	size_t n = strlen(text), m = strlen(ending);

	return n >= m && strcmp(text + n - m, ending) == 0;
}

bool text_ends_any(const char *text, const char *const *endings, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		if (text_ends(text, endings[i]))
			return true;
	}
	return false;
}
