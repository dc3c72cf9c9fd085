#include "merge/recipe/scalar.h"

#include <ctype.h>
#include <float.h>
#include <locale.h>
#include <math.h>
#include <string.h>
#include <strings.h>

#include "merge/methods/method.h"
#include "merge/recipe/form.h"

#define MAX_WHOLE 9007199254740992.0 /* 2^53: whole numbers are exact below */
#define MAX_TEXT 64		     /* longest number */

static const char *skip_sign(const char *text)
{
	return *text == '-' || *text == '+' ? text + 1 : text;
}

static const char *skip_digits(const char *text)
{
	while (isdigit((unsigned char)*text))
		text++;
	return text;
}

/* 1, -.5, 3., 2e-1: what a person and every parser read alike. */
static bool is_decimal(const char *text)
{
	const char *whole = skip_sign(text);
	const char *end = skip_digits(whole);
	bool point = *end == '.';
	bool any = end > whole;

	/* A leading zero makes an octal number of an integer. */
	if (!point && *whole == '0' && end - whole > 1)
		return false;
	if (point) {
		const char *fraction = end + 1;
		end = skip_digits(fraction);
		any |= end > fraction;
	}
	if (!any)
		return false;
	if (*end == 'e' || *end == 'E') {
		const char *power = skip_sign(end + 1);
		end = skip_digits(power);
		if (end == power)
			return false;
	}
	return !*end;
}

static bool is_one_of(const char *text, const char *const *words)
{
	for (; *words; words++) {
		if (strcasecmp(text, *words) == 0)
			return true;
	}
	return false;
}

static bool is_infinite(const char *text)
{
	static const char *const words[] = {"inf", "nan", "infinity", NULL};
	const char *word = skip_sign(text);
	return is_one_of(word + (*word == '.'), words);
}

/* Something of digits that YAML 1.1 reads in a base of its own. */
static bool is_odd(const char *text)
{
	const char *digits = skip_sign(text);

	if (!isdigit((unsigned char)*digits))
		return false;
	if (digits[0] == '0' && strchr("xXbBoO", digits[1]) && digits[1])
		return digits[2] &&
		       strspn(digits + 2, "0123456789abcdefABCDEF_") ==
			       strlen(digits + 2);

	/* A version number (1.2.3) is no number to YAML either. */
	const char *point = strchr(digits, '.');
	return strspn(digits, "0123456789_:.") == strlen(digits) &&
	       (!point || !strpbrk(point + 1, ":."));
}

enum scalar_kind scalar_kind(const char *text, bool quoted)
{
	static const char *const truths[] = {"true", "false", NULL};
	static const char *const switches[] = {"yes", "no", "on", "off", NULL};

	if (quoted || strnlen(text, MAX_TEXT + 1) > MAX_TEXT)
		return SCALAR_TEXT;
	if (is_decimal(text))
		return SCALAR_NUMBER;
	if (is_infinite(text))
		return SCALAR_INFINITE;
	if (is_odd(text))
		return SCALAR_ODD;
	if (is_one_of(text, truths))
		return SCALAR_TRUTH;
	if (is_one_of(text, switches))
		return SCALAR_SWITCH;
	return SCALAR_TEXT;
}

/* strtod() for a point whatever the program's locale. */
static double parse_decimal(const char *text)
{
	locale_t plain = newlocale(LC_ALL_MASK, "C", (locale_t)0);
	double value = strtod_l(text, NULL, plain);
	freelocale(plain);
	return value;
}

/*
 * A number inside quotes, as Python reads one: white space around it, zeros
 * before it and underscores between its digits are nothing.
 */
static bool strip_quoted(const char *text, char stripped[MAX_TEXT + 1])
{
	while (isspace((unsigned char)*text))
		text++;
	size_t size = strlen(text);
	while (size && isspace((unsigned char)text[size - 1]))
		size--;
	if (size > MAX_TEXT)
		return false;

	size_t n = 0;
	for (size_t i = 0; i < size; i++) {
		if (text[i] != '_') {
			stripped[n++] = text[i];
			continue;
		}
		if (!i || i + 1 == size ||
		    !isdigit((unsigned char)text[i - 1]) ||
		    !isdigit((unsigned char)text[i + 1]))
			return false;
	}
	stripped[n] = '\0';

	char *digits = stripped + (*stripped == '-' || *stripped == '+');
	size_t zeros = strspn(digits, "0");
	if (zeros && isdigit((unsigned char)digits[zeros]))
		memmove(digits, digits + zeros, strlen(digits + zeros) + 1);
	else if (zeros > 1)
		memmove(digits, digits + zeros - 1,
			strlen(digits + zeros - 1) + 1);
	return true;
}

static int not_a_number(const struct form *form, const struct yaml *node,
			const char *what)
{
	return form_error(form, node->line, "%s is '%s', which is not a number",
			  what, node->text);
}

static int read_number(const struct form *form, const struct yaml *node,
		       const char *what, double *ret)
{
	char stripped[MAX_TEXT + 1];
	const char *text = node->text;
	if (node->quoted) {
		if (!strip_quoted(text, stripped))
			return not_a_number(form, node, what);
		text = stripped;
	}

	enum scalar_kind kind = scalar_kind(text, false);
	if (kind == SCALAR_TRUTH && !node->quoted) {
		*ret = strcasecmp(text, "true") == 0;
		return 0;
	}
	if (kind == SCALAR_SWITCH && !node->quoted)
		return form_error(form, node->line,
				  "%s is '%s', which YAML takes for a truth "
				  "value; write the number that is meant",
				  what, text);
	if (kind == SCALAR_ODD && !node->quoted)
		return form_error(form, node->line,
				  "%s is '%s', which YAML does not read as "
				  "people do; write it as a plain decimal "
				  "number",
				  what, text);

	double value = kind == SCALAR_NUMBER ? parse_decimal(text) : 0;
	if (kind == SCALAR_INFINITE || !isfinite(value))
		return form_error(form, node->line,
				  "%s is '%s'; it must be a finite number",
				  what, node->text);
	if (kind != SCALAR_NUMBER)
		return not_a_number(form, node, what);
	if (fabs(value) > (double)FLT_MAX)
		return form_error(form, node->line,
				  "%s is '%s', which float32 does not hold",
				  what, node->text);
	*ret = value;
	return 0;
}

static int read_whole(const struct form *form, const struct yaml *node,
		      const char *what, double *ret)
{
	double value;
	int r = read_number(form, node, what, &value);
	if (r < 0)
		return r;
	bool plain = !strpbrk(node->text, "eE") ||
		     scalar_kind(node->text, node->quoted) == SCALAR_TRUTH;
	if (!plain || value != floor(value) || fabs(value) > MAX_WHOLE)
		return form_error(form, node->line,
				  "%s is '%s'; it must be a whole number", what,
				  node->text);
	*ret = value;
	return 0;
}

static int read_truth(const struct form *form, const struct yaml *node,
		      const char *what, double *ret)
{
	static const char *const yes[] = {"true", "yes", "on", "t",
					  "y",	  "1",	 NULL};
	static const char *const no[] = {"false", "no", "off", "f",
					 "n",	  "0",	NULL};
	bool is_yes = is_one_of(node->text, yes);
	if (is_yes || is_one_of(node->text, no)) {
		*ret = is_yes;
		return 0;
	}

	if (scalar_kind(node->text, node->quoted) == SCALAR_NUMBER) {
		double value = parse_decimal(node->text);
		if (value == 0 || value == 1) {
			*ret = value;
			return 0;
		}
	}
	return form_error(form, node->line,
			  "%s is '%s'; it must be true or false", what,
			  node->text);
}

static int read_any(const struct form *form, const struct yaml *node,
		    const char *what, double *ret)
{
	double ignored;
	struct form quiet = *form;
	quiet.err = NULL;

	*ret = 0;
	if (read_truth(&quiet, node, what, &ignored) == 0)
		return 0;
	return read_number(form, node, what, &ignored);
}

static int check_interval(const struct form *form, const struct yaml *node,
			  const struct method_param *param, const char *what,
			  double value)
{
	if (param->min == 0 && param->max == 0)
		return 0;
	if (value >= param->min && value <= param->max)
		return 0;
	if (isinf(param->max))
		return form_error(form, node->line,
				  "%s is %s; it must be at least %g", what,
				  node->text, param->min);
	if (isinf(param->min))
		return form_error(form, node->line,
				  "%s is %s; it must be at most %g", what,
				  node->text, param->max);
	return form_error(form, node->line,
			  "%s is %s; it must lie between %g and %g", what,
			  node->text, param->min, param->max);
}

int scalar_value(const struct form *form, const struct yaml *node,
		 const struct method_param *param, const char *what,
		 double *ret)
{
	if (node->kind == YAML_NULL)
		return form_error(form, node->line, "%s has no value", what);
	int r = form_is(form, node, YAML_SCALAR, what);
	if (r < 0)
		return r;
	if (!param)
		return read_any(form, node, what, ret);

	double value = 0;
	if (param->type == PARAM_BOOL)
		r = read_truth(form, node, what, &value);
	else if (param->type == PARAM_INT)
		r = read_whole(form, node, what, &value);
	else
		r = read_number(form, node, what, &value);
	if (r == 0)
		r = check_interval(form, node, param, what, value);
	if (r < 0)
		return r;
	*ret = value;
	return 0;
}
