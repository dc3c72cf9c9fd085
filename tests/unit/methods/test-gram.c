#define ISA base
#include "merge/kernels/gram.h"

#include <math.h>
#include <string.h>

#include "tests/unit/check.h"

#define MAX_ROWS 5

typedef void gram_add_fn(double *gram, const struct gram_rows *rows,
			 unsigned k);

/* Every instruction set's own. */
#define ISA_ROW(name, runs)                                  \
	gram_add_fn gram_add_##name;                         \
	void gram_add_lanes_##name(struct gram_lanes *lanes, \
				   const struct gram_rows *rows, unsigned k);
#include "merge/kernels/isa-list.def"
#undef ISA_ROW

static const struct variant {
	const char *isa;
	gram_add_fn *add;
	void (*add_lanes)(struct gram_lanes *lanes,
			  const struct gram_rows *rows, unsigned k);
} variants[] = {
#define ISA_ROW(name, runs) {#name, gram_add_##name, gram_add_lanes_##name},
#include "merge/kernels/isa-list.def"
#undef ISA_ROW
	{},
};

static float rows[MAX_ROWS][TILE];
static float *const in[MAX_ROWS] = {rows[0], rows[1], rows[2], rows[3],
				    rows[4]};

static struct gram_rows of(float *const *some, size_t n)
{
	return (struct gram_rows){.in = some, .n = n};
}

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
	struct gram_rows some = of(in, n);

	for (unsigned k = 1; k <= MAX_ROWS; k++)
		for (const struct variant *v = variants; v->isa; v++) {
			double gram[16];
			if (!isa_find(v->isa))
				continue;

			for (int i = 0; i < 16; i++)
				gram[i] = 1; /* it adds */
			v->add(gram, &some, k);
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

	struct gram_rows some = of(in, 499);
	gram_add(two, &some, 2);
	gram_add(one, &some, 1);
	gram_add(five, &some, MAX_ROWS);
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
	struct gram_rows whole = of(in, 499), first = of(in, 320),
			 second = of(rest, 499 - 320);

	for (const struct variant *v = variants; v->isa; v++) {
		double gram[15] = {};
		struct gram_lanes lanes[15] = {};
		if (!isa_find(v->isa))
			continue;

		v->add(gram, &whole, MAX_ROWS);
		v->add_lanes(lanes, &first, MAX_ROWS);
		v->add_lanes(lanes, &second, MAX_ROWS);
		for (int i = 0; i < 15; i++)
			CHECK(gram_fold(&lanes[i]) == gram[i]);
	}
}

/* Less a base, of floats or of halves: the sums are those of the differences.
 */
static void test_base(bool halves, size_t n)
{
	static char stored[MAX_ROWS + 1][2 * TILE + 1];
	static float delta[MAX_ROWS][TILE], base[TILE];
	float *deltas[MAX_ROWS], *at[MAX_ROWS];
	const struct isa *isa = isa_all()[0];
	void *stored_base = stored[MAX_ROWS] + 1;

	memcpy(base, rows[1] + 1, (TILE - 1) * sizeof(float));
	if (halves) {
		isa->store[DTYPE_BF16](stored_base, base, n);
		isa->load[DTYPE_BF16](base, stored_base, n);
	}
	for (int i = 0; i < MAX_ROWS; i++) {
		void *row = stored[i] + 1; /* aligned to nothing */

		memcpy(delta[i], rows[i], sizeof(delta[i]));
		if (halves) {
			isa->store[DTYPE_BF16](row, rows[i], n);
			isa->load[DTYPE_BF16](delta[i], row, n);
		}
		for (size_t j = 0; j < n; j++)
			delta[i][j] -= base[j];
		deltas[i] = delta[i];
		at[i] = halves ? row : rows[i];
	}
	struct gram_rows given = {at, halves ? stored_base : base, halves, n};
	struct gram_rows made = of(deltas, n);

	for (const struct variant *v = variants; v->isa; v++)
		for (unsigned k = 1; isa_find(v->isa) && k <= MAX_ROWS; k++) {
			double gram[15] = {}, expected[15] = {};

			v->add(gram, &given, k);
			gram_add(expected, &made, k);
			CHECK(memcmp(gram, expected, sizeof(gram)) == 0);
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
	for (size_t n = 0; n < 64; n++) {
		test_base(false, n);
		test_base(true, n);
	}
	test_base(false, TILE);
	test_base(true, TILE);
	return 0;
}
