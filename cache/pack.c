/*
 * As it is packed: a head; two lower bits of all bytes; third bits; of each
 * exception how far it is behind the one before; values of exceptions.
 *
 * The bytes are cut into eighths. The bits of those that have the same place in
 * their eighths lie together, so that every loop goes through its arrays in
 * order and compilers make vectors of it.
 */
#include "cache/pack.h"

#include <errno.h>
#include <stdint.h>
#include <string.h>

#include "util/range.h"

#define PARTS 8
#define VALUES 8    /* that three bits tell apart */
#define SAMPLE 4096 /* bytes that tell which */
#define FAR UINT16_MAX
#define PIECE 4096 /* bytes that are looked at in one go */

struct head {
	uint32_t n_exceptions;
	uint8_t base; /* the lowest of the eight values, which may wrap */
	uint8_t zeros[3];
};

static uint8_t find_base(const unsigned char *data, size_t n)
{
	unsigned counts[256] = {0}, most = 0;
	uint8_t base = 0;

	for (size_t i = 0; i < n; i += n / SAMPLE + 1)
		counts[data[i]]++;
	for (unsigned i = 0; i < 256; i++) {
		unsigned sum = 0;
		for (unsigned j = 0; j < VALUES; j++)
			sum += counts[(i + j) % 256];
		if (sum > most)
			base = (uint8_t)i;
		most = sum > most ? sum : most;
	}
	return base;
}

struct exceptions {
	unsigned char *gaps, *values; /* (most,) of two bytes and of one */
	size_t n, most;
	size_t last; /* place of the newest */
};

static void add_exception(struct exceptions *list, size_t at, uint8_t value)
{
	uint16_t gap = (uint16_t)(at - list->last);

	if (list->n < list->most) {
		memcpy(list->gaps + 2 * list->n, &gap, sizeof(gap));
		list->values[list->n] = value;
	}
	list->n++;
	list->last = at;
}

/* Where the gap would be too long for its two bytes, some that are none are
 * named on the way. */
static void take_exception(struct exceptions *list, const unsigned char *data,
			   size_t at)
{
	while (at - list->last > FAR)
		add_exception(list, list->last + FAR, data[list->last + FAR]);
	add_exception(list, at, data[at]);
}

/* n is a multiple of 8. */
static void find_exceptions(const unsigned char *data, size_t n, uint8_t base,
			    struct exceptions *list)
{
	unsigned char beyond[PIECE]; /* 0 for those that three bits can say */
	uint64_t eight;

	for (size_t i = 0; i < n && list->n <= list->most; i += PIECE) {
		size_t size = min_u64(PIECE, n - i);
		for (size_t j = 0; j < size; j++)
			beyond[j] = (uint8_t)(data[i + j] - base) / VALUES;
		for (size_t j = 0; j < size; j += sizeof(eight)) {
			memcpy(&eight, beyond + j, sizeof(eight));
			for (size_t k = 0; eight != 0 && k < sizeof(eight); k++)
				if (beyond[j + k])
					take_exception(list, data, i + j + k);
		}
	}
}

static inline __attribute__((always_inline)) void
pack_part(const unsigned char *restrict data, size_t n, uint8_t base,
	  unsigned char *restrict two, unsigned char *restrict one,
	  unsigned part)
{
	for (size_t i = 0; i < n; i++) {
		uint8_t code = (uint8_t)(data[i] - base);
		uint8_t high = (uint8_t)(code >> 2) & 1;
		two[i] |= (uint8_t)((code & 3) << part / 2 * 2);
		one[i] |= (uint8_t)(high << part);
	}
}

/* The shifts are known when it is compiled, so that vectors of bytes serve. */
static void pack_bits(const unsigned char *data, size_t eighth, uint8_t base,
		      unsigned char *twos, unsigned char *ones)
{
	memset(twos, 0, 2 * eighth);
	memset(ones, 0, eighth);
#pragma GCC unroll 8
	for (unsigned part = 0; part < PARTS; part++)
		pack_part(data + part * eighth, eighth, base,
			  twos + part % 2 * eighth, ones, part);
}

size_t pack(const unsigned char *data, size_t n, void *out, size_t room)
{
	size_t eighth = n / PARTS, bits = sizeof(struct head) + 3 * eighth;
	unsigned char *to = out;

	if (n < PARTS || n % PARTS != 0 || n > UINT32_MAX || room < bits)
		return 0;
	/* Values are put behind as many gaps as may be, and moved. */
	struct exceptions list = {.most = (room - bits) / 3};
	list.gaps = to + bits;
	list.values = list.gaps + 2 * list.most;
	struct head head = {.base = find_base(data, n)};
	find_exceptions(data, n, head.base, &list);
	if (list.n > list.most)
		return 0;
	memmove(list.gaps + 2 * list.n, list.values, list.n);
	head.n_exceptions = (uint32_t)list.n;
	memcpy(to, &head, sizeof(head));
	to += sizeof(head);
	pack_bits(data, eighth, head.base, to, to + 2 * eighth);
	return bits + 3 * list.n;
}

static inline __attribute__((always_inline)) void
unpack_part(const unsigned char *restrict two,
	    const unsigned char *restrict one, size_t n, uint8_t base,
	    unsigned char *restrict data, unsigned part)
{
	for (size_t i = 0; i < n; i++) {
		uint8_t low = (uint8_t)(two[i] >> part / 2 * 2) & 3;
		uint8_t high = (uint8_t)(one[i] >> part) & 1;
		data[i] =
			(uint8_t)(base + (uint8_t)(low + (uint8_t)(high << 2)));
	}
}

static void unpack_bits(const unsigned char *twos, const unsigned char *ones,
			size_t eighth, uint8_t base, unsigned char *data)
{
#pragma GCC unroll 8
	for (unsigned part = 0; part < PARTS; part++)
		unpack_part(twos + part % 2 * eighth, ones, eighth, base,
			    data + part * eighth, part);
}

int unpack(const void *in, size_t in_size, unsigned char *data, size_t n)
{
	size_t eighth = n / PARTS, bits = sizeof(struct head) + 3 * eighth;
	const unsigned char *from = in;
	struct head head;

	if (n % PARTS != 0 || in_size < bits)
		return -EBADMSG;
	memcpy(&head, from, sizeof(head));
	if (in_size - bits != 3 * (uint64_t)head.n_exceptions)
		return -EBADMSG;
	from += sizeof(head);
	unpack_bits(from, from + 2 * eighth, eighth, head.base, data);
	const unsigned char *gaps = from + 3 * eighth;
	const unsigned char *values = gaps + 2 * (size_t)head.n_exceptions;
	size_t at = 0;
	for (size_t i = 0; i < head.n_exceptions; i++) {
		uint16_t gap;
		memcpy(&gap, gaps + 2 * i, sizeof(gap));
		at += gap;
		if (at >= n)
			return -EBADMSG;
		data[at] = values[i];
	}
	return 0;
}
