#include "merge/output/config.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "merge/engine/plan.h"
#include "merge/source/source.h"
#include "tests/unit/check.h"
#include "util/json.h"

static struct source source_of(const char *label, const char *config)
{
	struct source source = {
		.label = (char *)label,
		.directory = (char *)label,
		.config_text = (char *)config,
	};

	CHECK(json_parse(config, strlen(config), label, &source.config, NULL) ==
	      0);
	return source;
}

/* Layers as "0 1 a1 a2": of the donor, or of the other model. */
static size_t layers_of(const char *map, const struct source *donor,
			const struct source *other, struct layer_origin *layers)
{
	size_t n = 0;

	for (const char *at = map; *at; n++) {
		char *end;
		layers[n].source = *at == 'a' ? other : donor;
		layers[n].layer = strtoul(at + (*at == 'a'), &end, 10);
		at = end + strspn(end, " ");
	}
	return n;
}

/* The donor's text after a change of depth; notes go to *notes if not NULL. */
static char *deepen(const char *config, const char *other_config,
		    const char *key, uint64_t donor_layers, const char *map,
		    struct notes *notes)
{
	struct source donor = source_of("donor", config);
	struct source other =
		source_of("other", other_config ? other_config : "{}");
	struct layer_origin layers[16];
	struct layer_count depth = {
		.key = (char *)key,
		.layers = layers,
		.n_layers = layers_of(map, &donor, &other, layers),
		.donor_layers = donor_layers,
	};
	struct plan plan = {
		.donor = &donor, .depths = &depth, .n_depths = 1, .tied = -1};
	char *text = NULL;

	CHECK(config_text(&plan, &text, NULL) == 0);
	cJSON_Delete(donor.config);
	cJSON_Delete(other.config);
	if (notes)
		*notes = plan.notes;
	else
		notes_done(&plan.notes);
	return text;
}

static void check_deepen(const char *config, const char *map,
			 const char *wanted)
{
	struct notes notes = {0};
	AUTO_FREE char *text =
		deepen(config, NULL, "num_hidden_layers", 2, map, &notes);

	if (strcmp(text, wanted) != 0)
		fprintf(stderr, "got:    %s\nwanted: %s\n", text, wanted);
	CHECK(strcmp(text, wanted) == 0);
	CHECK(notes.n_lines == 0);
	notes_done(&notes);
}

static void check_note(const char *config, const char *map, const char *word)
{
	struct notes notes = {0};
	AUTO_FREE char *text =
		deepen(config, NULL, "num_hidden_layers", 4, map, &notes);

	CHECK(text && notes.n_lines == (word ? 1 : 0));
	CHECK(!word || strstr(notes.lines[0], word));
	notes_done(&notes);
}

static char *edited(const char *config, enum dtype_code dtype, int tied)
{
	struct source donor = source_of("donor", config);
	struct plan plan = {
		.donor = &donor,
		.dtype = dtype == DTYPE_COUNT ? NULL : dtype_of(dtype),
		.tied = tied,
	};
	char *text = NULL;

	CHECK(config_text(&plan, &text, NULL) == 0);
	CHECK(plan.notes.n_lines == 0);
	cJSON_Delete(donor.config);
	return text;
}

static void check_edited(const char *config, enum dtype_code dtype, int tied,
			 const char *wanted)
{
	AUTO_FREE char *text = edited(config, dtype, tied);

	if (strcmp(text, wanted) != 0)
		fprintf(stderr, "got:    %s\nwanted: %s\n", text, wanted);
	CHECK(strcmp(text, wanted) == 0);
}

static void test_dtype(void)
{
	check_edited("{ \"z\":1e-05,\n\"dtype\" : \"float32\" }\n", DTYPE_COUNT,
		     -1, "{ \"z\":1e-05,\n\"dtype\" : \"float32\" }\n");
	check_edited("{ \"z\":1e-05,\n\"dtype\" : \"float32\" }", DTYPE_BF16,
		     -1, "{ \"z\":1e-05,\n\"dtype\" : \"bfloat16\" }");
	check_edited("{\"torch_dtype\": \"float32\", \"dtype\": null}",
		     DTYPE_F16, -1,
		     "{\"torch_dtype\": \"float16\", \"dtype\": \"float16\"}");
	check_edited("{\"a_config\": {\"b_config\": {\"dtype\": \"x\"}},"
		     " \"torch_dtype\": \"x\","
		     " \"quantization_config\": {\"dtype\": \"x\"},"
		     " \"other\": {\"dtype\": \"x\"},"
		     " \"vision_config\": {\"hidden\": 1}}",
		     DTYPE_F32, -1,
		     "{\"a_config\": {\"b_config\": {\"dtype\": \"float32\"}},"
		     " \"torch_dtype\": \"float32\","
		     " \"quantization_config\": {\"dtype\": \"x\"},"
		     " \"other\": {\"dtype\": \"x\"},"
		     " \"vision_config\": {\"hidden\": 1}}");

	AUTO_FREE char *added = edited("{\n  \"a\": 1\n}\n", DTYPE_BF16, -1);
	CHECK(strcmp(added, "{\n  \"a\": 1,\n  \"dtype\": \"bfloat16\"\n}\n") ==
	      0);
}

static void test_tie(void)
{
	check_edited("{\"tie_word_embeddings\": true}", DTYPE_COUNT, 0,
		     "{\"tie_word_embeddings\": false}");
	check_edited("{\"tie_word_embeddings\":true}", DTYPE_COUNT, 1,
		     "{\"tie_word_embeddings\":true}");
	check_edited("{\"text_config\": {\"tie_word_embeddings\": false},"
		     " \"tie_word_embeddings\": false}",
		     DTYPE_COUNT, 1,
		     "{\"text_config\": {\"tie_word_embeddings\": true},"
		     " \"tie_word_embeddings\": true}");

	AUTO_FREE char *added =
		edited("{\n  \"text_config\": {}\n}", DTYPE_COUNT, 0);
	CHECK(strcmp(added, "{\n  \"text_config\": {},\n"
			    "  \"tie_word_embeddings\": false\n}") == 0);
}

static void test_counts(void)
{
	check_deepen("{\"num_hidden_layers\": 2, \"eos_token_id\": [1, 2]}",
		     "0 1 1",
		     "{\"num_hidden_layers\": 3, \"eos_token_id\": [1, 2]}");
	check_deepen("{\"n_layer\": 2, \"num_hidden_layers\": 2, \"n_head\": 2,"
		     " \"num_layers\": 1}",
		     "0 1 1 0",
		     "{\"n_layer\": 4, \"num_hidden_layers\": 4, \"n_head\": 2,"
		     " \"num_layers\": 1}");
	check_deepen("{\"num_hidden_layers\": 2, \"layer_types\": [\"f\", "
		     "\"s\"],\n \"rest\": [ 1,2 ]}",
		     "0 1",
		     "{\"num_hidden_layers\": 2, \"layer_types\": [\"f\", "
		     "\"s\"],\n \"rest\": [ 1,2 ]}");
}

/* A count nested in a part, and the same told again at the top. */
static void test_nested(void)
{
	AUTO_FREE char *text = deepen(
		"{\"text_config\": {\"num_hidden_layers\": 2,"
		"\"layer_types\": [\"a\",\"b\"]}, \"num_hidden_layers\": 2,"
		"\"vision_config\": {\"num_hidden_layers\": 2}}",
		"{\"num_hidden_layers\": 1, \"layer_types\": [\"c\"]}",
		"text_config.num_hidden_layers", 2, "1 a0 1", NULL);

	CHECK(strcmp(text,
		     "{\"text_config\": {\"num_hidden_layers\": 3,"
		     "\"layer_types\": [\"b\",\"c\",\"b\"]}, "
		     "\"num_hidden_layers\": 3,"
		     "\"vision_config\": {\"num_hidden_layers\": 2}}") == 0);
}

static void test_lists(void)
{
	check_deepen("{\"num_hidden_layers\": 2, \"mlp_layer_types\":"
		     " [\"dense\", \"sparse\"]}",
		     "0 1 1",
		     "{\"num_hidden_layers\": 3, \"mlp_layer_types\":"
		     " [\"dense\",\"sparse\",\"sparse\"]}");
	check_deepen("{\"num_hidden_layers\": 2, \"no_rope_layers\": [1, 0]}",
		     "0 1 0 1",
		     "{\"num_hidden_layers\": 4, \"no_rope_layers\":"
		     " [1,0,1,0]}");
	check_deepen("{\"num_hidden_layers\": 2,"
		     " \"activation_sparsity_pattern\": [0.95, 0.0]}",
		     "0 1 1",
		     "{\"num_hidden_layers\": 3,"
		     " \"activation_sparsity_pattern\": [0.95,0.0,0.0]}");
	check_deepen("{\"num_hidden_layers\": 2,"
		     " \"block_configs\": [{\"a\": 1}, {\"a\": null}]}",
		     "1 0",
		     "{\"num_hidden_layers\": 2,"
		     " \"block_configs\": [{\"a\":null},{\"a\":1}]}");
	check_deepen("{\"num_hidden_layers\": 2,"
		     " \"hybrid_override_pattern\": \"M*\", \"b\": \"M*\"}",
		     "0 1 0 1 0",
		     "{\"num_hidden_layers\": 5,"
		     " \"hybrid_override_pattern\": \"M*M*M\", \"b\": \"M*\"}");
	check_deepen("{\"num_hidden_layers\": 2, \"attention_types\":"
		     " [[[\"global\", \"local\"], 1]],"
		     " \"attention_layers\": [\"global\", \"local\"]}",
		     "0 1 1",
		     "{\"num_hidden_layers\": 3, \"attention_types\":"
		     " [[[\"global\",\"local\",\"local\"], 1]],"
		     " \"attention_layers\":"
		     " [\"global\",\"local\",\"local\"]}");
}

/* Two elements where there are two layers, and yet no list of layers. */
static void test_other_lists(void)
{
	check_deepen("{\"num_hidden_layers\": 2, \"eos_token_id\": [0, 1],"
		     " \"architectures\": [\"A\", \"B\"],"
		     " \"begin_suppress_tokens\": [220, 50256],"
		     " \"mrope_section\": [16, 24],"
		     " \"image_size_types\": [1, 2],"
		     " \"layer_scale\": [1, 2, 3]}",
		     "0 1 1",
		     "{\"num_hidden_layers\": 3, \"eos_token_id\": [0, 1],"
		     " \"architectures\": [\"A\", \"B\"],"
		     " \"begin_suppress_tokens\": [220, 50256],"
		     " \"mrope_section\": [16, 24],"
		     " \"image_size_types\": [1, 2],"
		     " \"layer_scale\": [1, 2, 3]}");
}

static void test_index_lists(void)
{
	check_deepen("{\"num_hidden_layers\": 2, \"mlp_only_layers\": [1],"
		     " \"full_attn_idxs\": [0, 1], \"x_layers\": []}",
		     "0 1 1",
		     "{\"num_hidden_layers\": 3, \"mlp_only_layers\": [1,2],"
		     " \"full_attn_idxs\": [0,1,2], \"x_layers\": []}");
	check_deepen("{\"num_hidden_layers\": 2,"
		     " \"cross_attention_layers\": [0],"
		     " \"one_based_layers\": [2]}",
		     "1 1",
		     "{\"num_hidden_layers\": 2,"
		     " \"cross_attention_layers\": [],"
		     " \"one_based_layers\": [2]}");
}

/* Each layer keeps what its own model says of it. */
static void test_origins(void)
{
	AUTO_FREE char *text = deepen(
		"{\n  \"layer_types\": [\n    \"d0\",\n    \"d1\"\n  ],\n"
		"  \"mlp_only_layers\": [],\n  \"n_layer\": 2\n}\n",
		"{\"layer_types\": [\"o0\", \"o1\", \"o2\"], \"n_layer\": 3,"
		" \"mlp_only_layers\": [2]}",
		"n_layer", 2, "0 a1 a2", NULL);

	CHECK(strcmp(text, "{\n  \"layer_types\": [\n    \"d0\",\n    \"o1\",\n"
			   "    \"o2\"\n  ],\n"
			   "  \"mlp_only_layers\": [\n    2\n  ],\n"
			   "  \"n_layer\": 3\n}\n") == 0);
}

/* The other model is deeper and does not say: the list is left, and noted. */
static void test_no_origin(void)
{
	struct notes notes = {0};
	AUTO_FREE char *text =
		deepen("{\"n_layer\": 2, \"layer_types\": [\"a\", \"b\"]}",
		       "{\"n_layer\": 3}", "n_layer", 2, "0 a2", &notes);

	CHECK(strcmp(text, "{\"n_layer\": 2, \"layer_types\": [\"a\", "
			   "\"b\"]}") == 0);
	CHECK(notes.n_lines == 1);
	CHECK(strcmp(notes.lines[0],
		     "config.json: layer_types has no element "
		     "for layer 2 of other; left as it is") == 0);
	notes_done(&notes);
}

static void test_dense(void)
{
	check_deepen("{\"num_hidden_layers\": 2,"
		     " \"first_k_dense_replace\": 1}",
		     "0 0 1",
		     "{\"num_hidden_layers\": 3,"
		     " \"first_k_dense_replace\": 2}");
	check_deepen("{\"num_hidden_layers\": 2,"
		     " \"first_k_dense_replace\": 1}",
		     "1",
		     "{\"num_hidden_layers\": 1,"
		     " \"first_k_dense_replace\": 0}");
	check_note("{\"num_hidden_layers\": 4, \"first_k_dense_replace\": 2}",
		   "0 2 1", "first_k_dense_replace");
}

static void test_notes(void)
{
	check_note("{\"num_hidden_layers\": 4, \"decoder_sparse_step\": 2}",
		   "0 1 2 3 2 3", NULL);
	check_note("{\"num_hidden_layers\": 4, \"decoder_sparse_step\": 2}",
		   "0 1 2 2 3", "decoder_sparse_step");
	check_note("{\"num_hidden_layers\": 4, \"sliding_window_pattern\": 2,"
		   " \"layer_types\": [1, 2, 3, 4]}",
		   "0 1 2 2 3", NULL);
	check_note("{\"num_hidden_layers\": 4, \"max_window_layers\": 3,"
		   " \"sliding_window\": 9, \"use_sliding_window\": true}",
		   "0 1 2 3 3", "max_window_layers");
	check_note("{\"num_hidden_layers\": 4, \"max_window_layers\": 3,"
		   " \"sliding_window\": 9, \"use_sliding_window\": false}",
		   "0 1 2 3 3", NULL);

	struct notes notes = {0};
	AUTO_FREE char *text = deepen("{}", NULL, NULL, 0, "0 1 1", &notes);
	CHECK(strcmp(text, "{}") == 0 && notes.n_lines == 1);
	notes_done(&notes);
}

/* Two counts in one object: neither is a twin of the other. */
static void test_two_depths(void)
{
	struct source donor = source_of(
		"donor", "{\"num_layers\": 2, \"num_hidden_layers\": 2}");
	struct layer_origin layers[3] = {{&donor, 0}, {&donor, 1}, {&donor, 1}};
	struct layer_count depths[] = {
		{(char *)"num_layers", layers, 3, 2},
		{(char *)"num_hidden_layers", layers, 1, 2},
	};
	struct plan plan = {
		.donor = &donor, .depths = depths, .n_depths = 2, .tied = -1};
	AUTO_FREE char *text = NULL;

	CHECK(config_text(&plan, &text, NULL) == 0);
	CHECK(strcmp(text, "{\"num_layers\": 3, \"num_hidden_layers\": 1}") ==
	      0);
	cJSON_Delete(donor.config);
}

static void test_no_parent(void)
{
	struct source donor = source_of("donor", "{\"a\": 1}");
	struct layer_origin layer = {&donor, 0};
	struct layer_count depth = {(char *)"text_config.n_layer", &layer, 1,
				    1};
	struct plan plan = {
		.donor = &donor, .depths = &depth, .n_depths = 1, .tied = -1};
	char *text = NULL;
	struct error err;

	CHECK(config_text(&plan, &text, &err) == -ENOENT);
	CHECK(!text && strstr(err.text, "donor/config.json: "));
	cJSON_Delete(donor.config);
}

int main(void)
{
	test_dtype();
	test_tie();
	test_counts();
	test_nested();
	test_lists();
	test_other_lists();
	test_index_lists();
	test_origins();
	test_no_origin();
	test_dense();
	test_notes();
	test_two_depths();
	test_no_parent();
	return 0;
}
