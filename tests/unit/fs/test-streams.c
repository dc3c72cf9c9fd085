#include "fs/streams.h"

#include "tests/unit/check.h"

#define MIB ((uint64_t)1 << 20)
#define WINDOW (4 * MIB)

static struct streams *make(void)
{
	struct streams *streams;

	CHECK(streams_new(3, WINDOW, &streams) == 0);
	return streams;
}

/* No byte twice, none left out, never further ahead than the window. */
static void check_run(uint64_t request)
{
	AUTO(streams) streams = make();
	struct stream_range range;
	uint64_t ahead = 0, end;

	for (uint64_t offset = 0; offset < 64 * MIB; offset += request) {
		end = offset + request;
		if (!streams_note(streams, 1, offset, request, &range))
			continue;
		CHECK(offset >= 2 * request);
		CHECK(ahead == 0 ? range.offset == end
				 : range.offset == (ahead > end ? ahead : end));
		CHECK(range.size > 0);
		ahead = range.offset + range.size;
		CHECK(ahead <= end + WINDOW);
	}
	CHECK(ahead > 64 * MIB);
}

/* Readahead of several threads comes out of order. */
static void check_out_of_order(void)
{
	static const unsigned order[] = {0, 2, 1, 3, 5, 4, 6, 7};
	AUTO(streams) streams = make();
	struct stream_range range;
	uint64_t named = 0, first = 0;

	for (unsigned i = 0; i < ARRAY_SIZE(order); i++) {
		uint64_t offset = order[i] * MIB / 2;
		if (!streams_note(streams, 0, offset, MIB / 2, &range))
			continue;
		if (!named)
			first = range.offset;
		CHECK(!named || range.offset == first + named);
		named += range.size;
	}
	CHECK(first + named == 8 * MIB);
}

static void check_random(void)
{
	AUTO(streams) streams = make();
	struct stream_range range;

	for (uint64_t i = 0; i < 1000; i++) {
		uint64_t offset = i * 7919 % 1000 * 16 * MIB;
		CHECK(!streams_note(streams, 0, offset, MIB, &range));
	}
}

/* Eight threads that read a slice each, in turn; and files apart. */
static void check_interleaved(void)
{
	AUTO(streams) streams = make();
	struct stream_range range;
	unsigned found[8] = {0};

	for (uint64_t step = 0; step < 16; step++) {
		for (uint64_t i = 0; i < 8; i++)
			found[i] += streams_note(streams, 2,
						 i * 1000 * MIB + step * MIB,
						 MIB, &range);
	}
	for (unsigned i = 0; i < 8; i++)
		CHECK(found[i] == 14);
	CHECK(!streams_note(streams, 1, 16 * MIB, MIB, &range));
}

int main(void)
{
	check_run(128 << 10);
	check_run(MIB);
	check_run(100000);
	check_out_of_order();
	check_random();
	check_interleaved();
	return 0;
}
