#include "fs/streams.h"

#include "tests/unit/check.h"

#define MIB ((uint64_t)1 << 20)
#define WINDOW (4 * MIB)
#define TOTAL (32 * MIB)

static struct streams *make(void)
{
	struct streams *streams;

	CHECK(streams_new(WINDOW, TOTAL, &streams) == 0);
	return streams;
}

static bool note(struct streams *streams, uint32_t file, uint64_t offset,
		 uint64_t size, struct stream_range *ret)
{
	const struct stream_read read = {file, offset, size};

	return streams_note(streams, &read, ret);
}

/* No byte twice, none left out, never further ahead than the window. */
static void check_run(uint64_t request)
{
	AUTO(streams) streams = make();
	struct stream_range range;
	uint64_t ahead = 0, end;

	for (uint64_t offset = 0; offset < 64 * MIB; offset += request) {
		end = offset + request;
		if (!note(streams, 1, offset, request, &range))
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
		if (!note(streams, 0, offset, MIB / 2, &range))
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
		CHECK(!note(streams, 0, offset, MIB, &range));
	}
}

/* Small reads near each other, and runs among them that they do not end. */
static void check_random_small(void)
{
	AUTO(streams) streams = make();
	struct stream_range range;
	uint64_t state = 1, n_found = 0;

	for (uint64_t i = 0; i < 100000; i++) {
		state = state * 6364136223846793005u + 1442695040888963407u;
		CHECK(!note(streams, 1, (state >> 33) % 300000 * 4096, 4096,
			    &range));
		if (i % 20 == 0)
			n_found += note(streams, 2, i / 20 * MIB, MIB, &range);
	}
	CHECK(n_found == 100000 / 20 - 2);
}

/* Who skips what was fetched for it goes on with the run. */
static void check_skipping(void)
{
	AUTO(streams) streams = make();
	struct stream_range range;
	uint64_t ahead = 0;

	for (uint64_t i = 0; i < 40; i++) {
		uint64_t offset = i < 3 ? i * MIB : i * 2 * MIB;
		if (!note(streams, 0, offset, MIB, &range))
			continue;
		CHECK(!ahead || range.offset >= ahead);
		ahead = range.offset + range.size;
	}
	CHECK(ahead == 39 * 2 * MIB + MIB + WINDOW);
}

/* More runs than there is memory for share it. */
static void check_many(void)
{
	AUTO(streams) streams = make();
	struct stream_range range;
	uint64_t most = 0;

	for (uint64_t step = 0; step < 64; step++) {
		for (uint64_t i = 0; i < 16; i++) {
			uint64_t end = (step + 1) * MIB;
			if (!note(streams, (uint32_t)i, step * MIB, MIB,
				  &range) ||
			    step < 32)
				continue;
			uint64_t ahead = range.offset + range.size - end;
			most = ahead > most ? ahead : most;
		}
	}
	CHECK(most == TOTAL / 16);
	/* The others have ended. */
	for (uint64_t step = 64; step < 400; step++) {
		if (note(streams, 3, step * MIB, MIB, &range))
			most = range.offset + range.size - (step + 1) * MIB;
	}
	CHECK(most == WINDOW);
}

/* Eight threads that read a slice each, in turn; and files apart. */
static void check_interleaved(void)
{
	AUTO(streams) streams = make();
	struct stream_range range;
	unsigned found[8] = {0};

	for (uint64_t step = 0; step < 16; step++) {
		for (uint64_t i = 0; i < 8; i++)
			found[i] +=
				note(streams, 2, i * 1000 * MIB + step * MIB,
				     MIB, &range);
	}
	for (unsigned i = 0; i < 8; i++)
		CHECK(found[i] == 14);
	CHECK(!note(streams, 1, 16 * MIB, MIB, &range));
}

int main(void)
{
	check_run(128 << 10);
	check_run(MIB);
	check_run(100000);
	check_out_of_order();
	check_random();
	check_random_small();
	check_skipping();
	check_many();
	check_interleaved();
	return 0;
}
