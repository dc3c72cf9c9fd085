#define ISA base
#include "merge/kernels/gram.h"

#include <math.h>
#include <string.h>

#include "tests/unit/check.h"

#define MAX_ROWS 5

typedef void gram_add_fn(double *gram, float *const *in, unsigned k, size_t n);

/* Every instruction set's own. */
#define ISA_ROW(name, runs)                                                    \
	gram_add_fn gram_add_##name;                                           \
	void gram_add_lanes_##name(struct gram_lanes *lanes, float *const *in, \
				   unsigned k, size_t n);
#include "merge/kernels/isa-list.def"
#undef ISA_ROW

static const struct variant {
	const char *isa;
	gram_add_fn *add;
	void (*add_lanes)(struct gram_lanes *lanes, float *const *in,
			  unsigned k, size_t n);
} variants[] = {
#define ISA_ROW(name, runs) {#name, gram_add_##name, gram_add_lanes_##name},
#include "merge/kernels/isa-list.def"
#undef ISA_ROW
	{},
};

static float rows[MAX_ROWS][TILE];
static float *const in[MAX_ROWS] = {rows[0], rows[1], rows[2], rows[3],
				    rows[4]};

static void fill(void)
{
	srand(1);
	for (int i = 0; i < MAX_ROWS; i++)
		for (int j = 0; j < TILE; j++)
			rows[i][j] = (float)(rand() % 100003) / 100003 - 0.3f;
}

static void test_index(void)
{
	for (unsigned k = 1; k < 7; k++) {
		size_t next = 0;

		for (unsigned i = 0; i < k; i++)
			for (unsigned j = i; j < k; j++)
				CHECK(gram_index(k, i, j) == next++);
		CHECK(gram_count(k) == next);
	}
}

static void check_dots(const double *gram, unsigned k, size_t n)
{
	for (unsigned i = 0; i < k; i++)
		for (unsigned j = i; j < k; j++) {
			long double sum = 1;

			for (size_t e = 0; e < n; e++)
				sum += (long double)in[i][e] * in[j][e];
			double got = gram[gram_index(k, i, j)];
			CHECK(fabsl(got - sum) <= 1e-14L * (1 + (double)n));
		}
}

static void test_against_plain_sums(size_t n)
{
	double plain[15];

	for (unsigned k = 1; k <= MAX_ROWS; k++)
		for (const struct variant *v = variants; v->isa; v++) {
			double gram[16];
			if (!isa_find(v->isa))
				continue;

			for (int i = 0; i < 16; i++)
				gram[i] = 1; /* it adds */
			v->add(gram, in, k, n);
			check_dots(gram, k, n);
			CHECK(gram[gram_count(k)] == 1);
			if (v == variants)
				memcpy(plain, gram, sizeof(plain));
			CHECK(memcmp(plain, gram, sizeof(plain)) == 0);
		}
}

/* The fused pair and the single dot product are one shape of sum. */
static void test_rows_do_not_matter(void)
{
	double two[3] = {}, one[1] = {}, five[15] = {};

	gram_add(two, in, 2, 499);
	gram_add(one, in, 1, 499);
	gram_add(five, in, MAX_ROWS, 499);
	CHECK(two[0] == one[0]);
	CHECK(five[0] == one[0] && five[1] == two[1]);
}

/* Lanes over two pieces, folded in the end, are the sums of the whole, if the
 * first piece ends with the lanes. */
static void test_lanes(void)
{
	float *const rest[MAX_ROWS] = {rows[0] + 320, rows[1] + 320,
				       rows[2] + 320, rows[3] + 320,
				       rows[4] + 320};

	for (const struct variant *v = variants; v->isa; v++) {
		double gram[15] = {};
		struct gram_lanes lanes[15] = {};
		if (!isa_find(v->isa))
			continue;

		v->add(gram, in, MAX_ROWS, 499);
		v->add_lanes(lanes, in, MAX_ROWS, 320);
		v->add_lanes(lanes, rest, MAX_ROWS, 499 - 320);
		for (int i = 0; i < 15; i++)
			CHECK(gram_fold(&lanes[i]) == gram[i]);
	}
}

int main(void)
{
	fill();
	test_index();
	test_against_plain_sums(0);
	for (size_t n = 1; n <= TILE; n = n * 3 + 2)
		test_against_plain_sums(n);
	test_against_plain_sums(TILE);
	test_rows_do_not_matter();
	test_lanes();
	return 0;
}
