#include "fs/status.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "fs/attach.h"
#include "fs/mountinfo.h"
#include "fs/mountpoint.h"
#include "util/json.h"
#include "util/text.h"

static int read_all(int fd, struct text *ret)
{
	char piece[4096];
	ssize_t n;

	while ((n = read(fd, piece, sizeof(piece))) != 0) {
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		text_append(ret, piece, (size_t)n);
	}
	return ret->failed ? -ENOMEM : 0;
}

static void print_value(const cJSON *value, bool bytes, FILE *out)
{
	char size[16];

	if (cJSON_IsString(value))
		fprintf(out, "%s\n", value->valuestring);
	else if (bytes && value->valuedouble >= 1000)
		fprintf(out, "%s\n",
			text_format_size((unsigned long long)value->valuedouble,
					 size));
	else
		fprintf(out, "%.15g\n", value->valuedouble);
}

/* Which members are sizes is in their names. */
static bool is_bytes(const char *group, const char *name)
{
	static const char *const sizes[] = {
		"bytes",   "memory", "memory_budget", "resident",
		"waiting", "disk",   "disk_budget",   NULL};

	if (strcmp(group, "bytes") == 0)
		return true;
	for (size_t i = 0; sizes[i]; i++) {
		if (strcmp(name, sizes[i]) == 0)
			return true;
	}
	return false;
}

/* Sentences, one a line. */
static void print_list(const cJSON *list, unsigned depth, FILE *out)
{
	const cJSON *item;

	fprintf(out, "%s\n", list->string);
	cJSON_ArrayForEach(item, list)
	{
		fprintf(out, "%*s", (int)depth * 2 + 2, "");
		print_value(item, false, out);
	}
}

static void print_text(const cJSON *group, const char *title, unsigned depth,
		       FILE *out)
{
	const cJSON *item;

	cJSON_ArrayForEach(item, group)
	{
		fprintf(out, "%*s", (int)depth * 2, "");
		if (cJSON_IsObject(item)) {
			fprintf(out, "%s\n", item->string);
			print_text(item, item->string, depth + 1, out);
			continue;
		}
		if (cJSON_IsArray(item)) {
			print_list(item, depth, out);
			continue;
		}
		fprintf(out, "%-*s  ", (int)(22 - depth * 2), item->string);
		print_value(item, is_bytes(title, item->string), out);
	}
}

static void print_label(const char *text, FILE *out)
{
	for (; *text; text++) {
		if (*text == '\n')
			fputs("\\n", out);
		else if (*text == '"' || *text == '\\')
			fprintf(out, "\\%c", *text);
		else
			fputc(*text, out);
	}
}

struct metric {
	const char *group, *name, *mountpoint;
	const char *method; /* or NULL */
	double value;
	bool first; /* of its name */
};

static void print_metric(const struct metric *metric, FILE *out)
{
	bool gauge = strcmp(metric->group, "now") == 0;
	char name[96];

	snprintf(name, sizeof(name), "mkfs_mount_%s_%s%s", metric->group,
		 metric->name, gauge ? "" : "_total");
	if (metric->first)
		fprintf(out, "# TYPE %s %s\n", name,
			gauge ? "gauge" : "counter");
	fprintf(out, "%s{mountpoint=\"", name);
	print_label(metric->mountpoint, out);
	if (metric->method) {
		fputs("\",method=\"", out);
		print_label(metric->method, out);
	}
	fprintf(out, "\"} %.15g\n", metric->value);
}

static void print_methods(const cJSON *methods, const char *mountpoint,
			  FILE *out)
{
	static const char *const names[] = {"bytes", "seconds"};

	for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
		const cJSON *method;
		cJSON_ArrayForEach(method, methods)
		{
			const cJSON *value = json_at(method, names[i]);
			struct metric metric = {
				.group = "method",
				.name = names[i],
				.mountpoint = mountpoint,
				.method = method->string,
				.value = value ? value->valuedouble : 0,
				.first = method == methods->child,
			};
			print_metric(&metric, out);
		}
	}
}

static void print_prometheus(const cJSON *root, FILE *out)
{
	const cJSON *at = json_at(root, "mountpoint");
	const char *mountpoint = cJSON_IsString(at) ? at->valuestring : "";
	const cJSON *group;

	cJSON_ArrayForEach(group, root)
	{
		const cJSON *item;
		if (!cJSON_IsObject(group))
			continue;
		if (strcmp(group->string, "methods") == 0) {
			print_methods(group, mountpoint, out);
			continue;
		}
		cJSON_ArrayForEach(item, group)
		{
			struct metric metric = {
				.group = group->string,
				.name = item->string,
				.mountpoint = mountpoint,
				.value = item->valuedouble,
				.first = true,
			};
			print_metric(&metric, out);
		}
	}
	const cJSON *uptime = json_at(root, "uptime");
	struct metric metric = {
		.group = "now",
		.name = "uptime_seconds",
		.mountpoint = mountpoint,
		.value = uptime ? uptime->valuedouble : 0,
		.first = true,
	};
	print_metric(&metric, out);
}

int status_print(const char *path, enum status_form form, FILE *out,
		 struct error *err)
{
	AUTO(cJSON) root = NULL;
	struct text text = {0};
	AUTO_CLOSE int fd = -1;

	int r = attach_open(path, &fd, err);
	if (r < 0)
		return r;
	r = read_all(fd, &text);
	if (r < 0)
		error_set(err, r, "%s: %s", path, strerror(-r));
	else
		r = json_parse(text.data, text.length, path, &root, err);
	if (r == 0 && form == STATUS_JSON)
		fprintf(out, "%s\n", text.data);
	else if (r == 0 && form == STATUS_PROMETHEUS)
		print_prometheus(root, out);
	else if (r == 0)
		print_text(root, "", 0, out);
	text_done(&text);
	return r;
}

static void print_mount(void *arg, const struct mount_entry *entry)
{
	if (strcmp(entry->type, MOUNT_TYPE) == 0)
		fprintf(arg, "%s\n", entry->path);
}

int status_list(FILE *out, struct error *err)
{
	int r = mountinfo_each(NULL, print_mount, out);

	return r < 0 ? error_set(err, r, "/proc/self/mountinfo: %s",
				 strerror(-r))
		     : 0;
}
