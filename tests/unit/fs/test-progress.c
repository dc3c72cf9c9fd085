#include "fs/progress.h"

#include <string.h>

#include "tests/unit/check.h"

int main(void)
{
	struct progress progress = {.total = 16000000000, .done = 4000000000};
	char line[160];

	progress_format(&progress, 8, line, sizeof(line));
	CHECK(strcmp(line, " 25% [######                  ] 4.00 GB of "
			   "16.0 GB  500 MB/s  0:24 left") == 0);
	progress.done = 0;
	progress_format(&progress, 0, line, sizeof(line));
	CHECK(strstr(line, "  0% [  ") && strstr(line, "0:00 left"));
	progress.done = progress.total;
	progress_format(&progress, 100, line, sizeof(line));
	CHECK(strstr(line, "100% [########################]"));
	progress = (struct progress){0};
	progress_format(&progress, 1, line, sizeof(line));
	CHECK(strstr(line, "100%"));
	return 0;
}
