#include "merge/source/zip.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "merge/source/file.h"
#include "util/range.h"

#define MAX_DIRECTORY ((uint64_t)64 << 20)

/* The fixed parts of records, and what they begin with. */
#define END_SIZE 22
#define END_MARK 0x06054b50u
#define LOCATOR_SIZE 20
#define LOCATOR_MARK 0x07064b50u
#define END64_SIZE 56
#define END64_MARK 0x06064b50u
#define ENTRY_SIZE 46
#define ENTRY_MARK 0x02014b50u
#define HEADER_SIZE 30
#define HEADER_MARK 0x04034b50u

#define WIDE16 0xffffu	   /* the number is elsewhere, in 64 bits */
#define WIDE32 0xffffffffu /* the same */
#define WIDE_EXTRA 1	   /* there */

static uint64_t number(const unsigned char *data, unsigned size)
{
	uint64_t value = 0;

	for (unsigned i = 0; i < size; i++)
		value |= (uint64_t)data[i] << (8 * i);
	return value;
}

static int wrong(const struct file *file, const char *what, struct error *err)
{
	return error_set(err, -EINVAL, "%s: as a PyTorch archive, %s",
			 file->path, what);
}

static int read_at(const struct file *file, uint64_t offset, size_t size,
		   void *data, struct error *err)
{
	if (!range_within(offset, size, file->size))
		return wrong(file, "it is cut short", err);
	int r = file_read(file, offset, size, data);
	return r < 0 ? error_set(err, r, "%s: %s", file->path, strerror(-r))
		     : 0;
}

bool zip_looks_like(const struct file *file)
{
	unsigned char mark[4];

	return file->size >= sizeof(mark) &&
	       file_read(file, 0, sizeof(mark), mark) == 0 &&
	       number(mark, 4) == HEADER_MARK;
}

/* Where the directory is. */
struct place {
	uint64_t n, size, offset;
};

static int find_wide(const struct file *file, struct place *ret,
		     struct error *err)
{
	unsigned char locator[LOCATOR_SIZE], end[END64_SIZE];
	if (file->size < END_SIZE + LOCATOR_SIZE)
		return wrong(file, "it is cut short", err);

	int r = read_at(file, file->size - END_SIZE - LOCATOR_SIZE,
			LOCATOR_SIZE, locator, err);
	if (r == 0 && number(locator, 4) != LOCATOR_MARK)
		return wrong(file, "its end is damaged", err);
	if (r == 0)
		r = read_at(file, number(locator + 8, 8), END64_SIZE, end, err);
	if (r < 0)
		return r;
	if (number(end, 4) != END64_MARK)
		return wrong(file, "its end is damaged", err);
	*ret = (struct place){
		.n = number(end + 32, 8),
		.size = number(end + 40, 8),
		.offset = number(end + 48, 8),
	};
	return 0;
}

static int find_directory(const struct file *file, struct place *ret,
			  struct error *err)
{
	unsigned char end[END_SIZE];
	if (file->size < END_SIZE)
		return wrong(file, "it is cut short", err);

	int r = read_at(file, file->size - END_SIZE, END_SIZE, end, err);
	if (r < 0)
		return r;
	if (number(end, 4) != END_MARK)
		return wrong(file, "it is cut short", err);
	*ret = (struct place){
		.n = number(end + 10, 2),
		.size = number(end + 12, 4),
		.offset = number(end + 16, 4),
	};
	if (ret->n == WIDE16 || ret->size == WIDE32 || ret->offset == WIDE32)
		r = find_wide(file, ret, err);
	if (r < 0)
		return r;
	if (ret->size > MAX_DIRECTORY || ret->n > ret->size / ENTRY_SIZE)
		return wrong(file, "its directory is absurdly large", err);
	return 0;
}

/* The numbers that were too large for 32 bits, in their order. */
static bool read_wide(const unsigned char *extra, size_t size,
		      uint64_t *numbers[3])
{
	while (size >= 4) {
		size_t length = (size_t)number(extra + 2, 2);
		if (length > size - 4)
			return false;
		if (number(extra, 2) != WIDE_EXTRA) {
			extra += 4 + length;
			size -= 4 + length;
			continue;
		}
		extra += 4;
		for (unsigned i = 0; i < 3; i++) {
			if (*numbers[i] != WIDE32)
				continue;
			if (length < 8)
				return false;
			*numbers[i] = number(extra, 8);
			extra += 8;
			length -= 8;
		}
		return true;
	}
	return *numbers[0] != WIDE32 && *numbers[1] != WIDE32 &&
	       *numbers[2] != WIDE32;
}

/* One entry of the directory, of `left` bytes; *ret_size of it are its own. */
static int read_entry(const struct zip *zip, const unsigned char *data,
		      size_t left, struct zip_entry *ret, size_t *ret_size,
		      struct error *err)
{
	if (left < ENTRY_SIZE || number(data, 4) != ENTRY_MARK)
		return wrong(zip->file, "its directory is damaged", err);

	size_t name = (size_t)number(data + 28, 2);
	size_t extra = (size_t)number(data + 30, 2);
	size_t size = ENTRY_SIZE + name + extra + (size_t)number(data + 32, 2);
	uint64_t packed = number(data + 20, 4);
	struct zip_entry entry = {
		.name = (const char *)data + ENTRY_SIZE,
		.length = name,
		.size = number(data + 24, 4),
		.header = number(data + 42, 4),
	};
	uint64_t *numbers[3] = {&entry.size, &packed, &entry.header};
	if (size > left || !read_wide(data + ENTRY_SIZE + name, extra, numbers))
		return wrong(zip->file, "its directory is damaged", err);
	if (number(data + 8, 2) & 1 || number(data + 10, 2) != 0 ||
	    packed != entry.size)
		return wrong(zip->file, "it is compressed or encrypted", err);
	*ret = entry;
	*ret_size = size;
	return 0;
}

/* As whole names compare; `a` may be in two parts. */
static int compare_name(const char *folder, size_t folder_length,
			const char *name, size_t length,
			const struct zip_entry *entry)
{
	size_t n = min_u64(folder_length, entry->length);
	int order = memcmp(folder, entry->name, n);
	if (order != 0 || n < folder_length)
		return order != 0 ? order : 1;

	size_t rest = entry->length - folder_length;
	order = memcmp(name, entry->name + folder_length,
		       min_u64(length, rest));
	if (order != 0)
		return order;
	return length < rest ? -1 : length > rest;
}

static int compare_entries(const void *a, const void *b)
{
	const struct zip_entry *x = a;

	return compare_name(x->name, x->length, "", 0, b);
}

static int read_directory(struct zip *zip, const struct place *place,
			  struct error *err)
{
	size_t done = 0;

	zip->directory = malloc(place->size + 1);
	zip->entries = calloc(place->n + 1, sizeof(*zip->entries));
	if (!zip->directory || !zip->entries)
		return error_set(err, -ENOMEM, "out of memory");
	int r = read_at(zip->file, place->offset, place->size, zip->directory,
			err);
	while (r == 0 && zip->n_entries < place->n) {
		size_t size = 0;
		r = read_entry(zip, zip->directory + done, place->size - done,
			       &zip->entries[zip->n_entries++], &size, err);
		done += size;
	}
	if (r < 0)
		return r;
	qsort(zip->entries, zip->n_entries, sizeof(*zip->entries),
	      compare_entries);
	for (size_t i = 1; i < zip->n_entries; i++) {
		if (compare_entries(&zip->entries[i - 1], &zip->entries[i]) ==
		    0)
			return wrong(zip->file, "it has a name twice", err);
	}
	return 0;
}

int zip_open(const struct file *file, struct zip *ret, struct error *err)
{
	struct zip zip = {.file = file};
	struct place place = {0};

	int r = find_directory(file, &place, err);
	if (r == 0)
		r = read_directory(&zip, &place, err);
	if (r < 0) {
		zip_done(&zip);
		return r;
	}
	*ret = zip;
	return 0;
}

void zip_done(struct zip *zip)
{
	free(zip->directory);
	free(zip->entries);
	*zip = (struct zip){0};
}

const struct zip_entry *zip_find(const struct zip *zip, const char *folder,
				 size_t length, const char *name)
{
	size_t low = 0, high = zip->n_entries;

	while (low < high) {
		size_t middle = low + (high - low) / 2;
		const struct zip_entry *entry = &zip->entries[middle];
		int order =
			compare_name(folder, length, name, strlen(name), entry);
		if (order == 0)
			return entry;
		if (order < 0)
			high = middle;
		else
			low = middle + 1;
	}
	return NULL;
}

int zip_place(const struct zip *zip, const struct zip_entry *entry,
	      uint64_t *ret, struct error *err)
{
	unsigned char header[HEADER_SIZE];

	int r = read_at(zip->file, entry->header, HEADER_SIZE, header, err);
	if (r < 0)
		return r;
	uint64_t data = entry->header + HEADER_SIZE + number(header + 26, 2) +
			number(header + 28, 2);
	if (number(header, 4) != HEADER_MARK ||
	    !range_within(data, entry->size, zip->file->size))
		return wrong(zip->file, "an entry of it is damaged", err);
	*ret = data;
	return 0;
}
