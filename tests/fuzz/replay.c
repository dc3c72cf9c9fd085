/*
 * Runs a fuzz target over every file of the folders named, as a plain test.
 */
#include <dirent.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Into memory of the exact size, so that sanitizers see overreading. */
static int run_file(const char *path)
{
	FILE *in = fopen(path, "rb");
	if (!in || fseek(in, 0, SEEK_END) < 0)
		return -1;
	long size = ftell(in);
	rewind(in);
	uint8_t *data = malloc(size > 0 ? (size_t)size : 1);
	if (!data || fread(data, 1, (size_t)size, in) != (size_t)size)
		return -1;
	fclose(in);
	LLVMFuzzerTestOneInput(data, (size_t)size);
	free(data);
	return 0;
}

static unsigned run_folder(const char *folder)
{
	char path[4096];
	unsigned n = 0;
	DIR *dir = opendir(folder);
	if (!dir)
		return 0;

	for (const struct dirent *entry; (entry = readdir(dir));) {
		if (entry->d_name[0] == '.')
			continue;
		snprintf(path, sizeof(path), "%s/%s", folder, entry->d_name);
		if (run_file(path) < 0) {
			perror(path);
			exit(1);
		}
		n++;
	}
	closedir(dir);
	return n;
}

int main(int argc, char **argv)
{
	unsigned n = 0;

	for (int i = 1; i < argc; i++)
		n += run_folder(argv[i]);
	printf("%u inputs\n", n);
	return n > 0 ? 0 : 1;
}
