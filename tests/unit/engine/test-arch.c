/* Architecture by names: splitting, spelling, stacks and modules. */
#include <errno.h>
#include <string.h>

#include "merge/arch/arch.h"
#include "merge/source/source.h"
#include "tests/unit/check.h"
#include "util/json.h"

static int compare_tensors(const void *a, const void *b)
{
	const struct tensor *x = a, *y = b;

	return strcmp(x->name, y->name);
}

/* A source of names only. */
static struct source *make_source(const char *config, char **names)
{
	struct source *source = calloc(1, sizeof(*source));
	CHECK(source);
	source->directory = "dir";
	CHECK(json_parse(config, strlen(config), "config.json", &source->config,
			 NULL) == 0);
	while (names[source->n_tensors])
		source->n_tensors++;
	source->tensors = calloc(source->n_tensors, sizeof(struct tensor));
	CHECK(source->tensors);
	for (size_t i = 0; i < source->n_tensors; i++)
		source->tensors[i].name = names[i];
	qsort(source->tensors, source->n_tensors, sizeof(struct tensor),
	      compare_tensors);
	return source;
}

static void free_source(struct source *source)
{
	cJSON_Delete(source->config);
	free(source->tensors);
	free(source);
}

static struct arch *infer(const char *config, char **names)
{
	struct arch *arch = NULL;
	struct error err = {0};
	struct source *source = make_source(config, names);

	CHECK(arch_infer(source, &arch, &err) == 0);
	free_source(source);
	return arch;
}

static void test_split(void)
{
	size_t prefix;
	uint64_t layer;
	const char *rest;

	CHECK(arch_split("model.layers.12.mlp.up.weight", &prefix, &layer,
			 &rest));
	CHECK(prefix == strlen("model.layers.") && layer == 12);
	CHECK(strcmp(rest, ".mlp.up.weight") == 0);
	CHECK(arch_split("h.0.experts.3.w", &prefix, &layer, &rest));
	CHECK(layer == 0 && strcmp(rest, ".experts.3.w") == 0);
	CHECK(!arch_split("lm_head.weight", &prefix, &layer, &rest));
	CHECK(!arch_split("0.weight", &prefix, &layer, &rest));
	CHECK(!arch_split("a.7", &prefix, &layer, &rest));
	CHECK(!arch_split("a.12345678901234567890.b", &prefix, &layer, &rest));

	AUTO_FREE char *name = arch_renumber("a.b.7.c.2.d", 31);
	CHECK(strcmp(name, "a.b.31.c.2.d") == 0);
	AUTO_FREE char *template = arch_template("a.b.7.c.2.d");
	CHECK(strcmp(template, "a.b.N.c.2.d") == 0);
	AUTO_FREE char *loose = arch_renumber("norm.weight", 3);
	CHECK(strcmp(loose, "norm.weight") == 0);
}

static void test_canonical(void)
{
	static const char *const same[][2] = {
		{"transformer.h.0.attn.weight", "h.0.attn.weight"},
		{"language_model.model.layers.1.x",
		 "model.language_model.layers.1.x"},
		{"language_model.lm_head.weight", "lm_head.weight"},
		{"vision_tower.v.weight", "model.vision_tower.v.weight"},
		{"bert.e.LayerNorm.gamma", "e.LayerNorm.weight"},
		{"e.LayerNorm.beta", "e.LayerNorm.bias"},
	};

	for (size_t i = 0; i < ARRAY_SIZE(same); i++) {
		AUTO_FREE char *a = arch_canonical(same[i][0]);
		AUTO_FREE char *b = arch_canonical(same[i][1]);
		CHECK(strcmp(a, b) == 0);
	}
	AUTO_FREE char *text = arch_canonical("model.layers.0.w");
	AUTO_FREE char *vision = arch_canonical("vision_tower.layers.0.w");
	CHECK(strcmp(text, vision) != 0);
}

static void test_single(void)
{
	char *names[] = {"model.embed_tokens.weight",
			 "model.layers.0.w",
			 "model.layers.1.w",
			 "model.layers.2.eh_proj",
			 "model.norm.weight",
			 "lm_head.weight",
			 "model.aux.0.w",
			 NULL};
	AUTO(arch)
	arch = infer("{\"num_hidden_layers\": 2, \"num_heads\": 3}", names);
	struct arch_place place;

	CHECK(arch->n_modules == 1);
	CHECK(strcmp(arch->modules[0].name, "default") == 0);
	CHECK(strcmp(arch->modules[0].count_key, "num_hidden_layers") == 0);
	CHECK(arch->modules[0].n_layers == 2);
	arch_locate(arch, "model.embed_tokens.weight", &place);
	CHECK(place.position == ARCH_BEFORE);
	arch_locate(arch, "model.layers.1.w", &place);
	CHECK(place.position == ARCH_LAYER && place.layer == 1);
	arch_locate(arch, "model.layers.2.eh_proj", &place);
	CHECK(place.position == ARCH_AFTER && place.beyond);
	arch_locate(arch, "lm_head.weight", &place);
	CHECK(place.position == ARCH_AFTER && !place.beyond);
	arch_locate(arch, "model.norm.weight", &place);
	CHECK(place.position == ARCH_AFTER);
}

static void test_modules(void)
{
	char *t5[] = {"encoder.block.0.a",
		      "encoder.block.1.a",
		      "encoder.final_layer_norm.weight",
		      "decoder.block.0.a",
		      "decoder.block.1.a",
		      "decoder.block.2.a",
		      "shared.weight",
		      "lm_head.weight",
		      NULL};
	AUTO(arch)
	arch = infer("{\"num_layers\": 2, \"num_decoder_layers\": 3}", t5);
	CHECK(arch->n_modules == 3);
	int encoder = arch_module_find(arch, "encoder");
	int decoder = arch_module_find(arch, "decoder");
	CHECK(encoder >= 0 && decoder >= 0);
	CHECK(strcmp(arch->modules[encoder].count_key, "num_layers") == 0);
	CHECK(strcmp(arch->modules[decoder].count_key, "num_decoder_layers") ==
	      0);
	CHECK(arch_module_find(arch, "shared") >= 0);
	CHECK(arch_module_find(arch, "tail") < 0);
	struct arch_place place;
	arch_locate(arch, "lm_head.weight", &place);
	CHECK((int)place.module == arch_module_find(arch, "shared"));

	char *vlm[] = {"model.language_model.layers.0.a",
		       "model.language_model.layers.1.a",
		       "model.vision_tower.encoder.layers.0.a",
		       "model.multi_modal_projector.weight",
		       "lm_head.weight",
		       NULL};
	AUTO(arch)
	both = infer("{\"text_config\": {\"num_hidden_layers\": 2},"
		     "\"vision_config\": {\"num_hidden_layers\": 1}}",
		     vlm);
	CHECK(both->n_modules == 3);
	int text = arch_module_find(both, "text_decoder");
	int vision = arch_module_find(both, "vision_model");
	CHECK(text >= 0 && vision >= 0 && text != vision);
	CHECK(strcmp(both->modules[text].count_key,
		     "text_config.num_hidden_layers") == 0);
	CHECK(arch_module_find(both, "multi_modal_projector") >= 0);
	arch_locate(both, "lm_head.weight", &place);
	CHECK((int)place.module == text);
}

static void test_too_few(void)
{
	char *names[] = {"model.layers.0.w", "model.layers.1.w", NULL};
	struct source *source =
		make_source("{\"num_hidden_layers\": 5}", names);
	struct arch *arch = NULL;
	struct error err = {0};

	CHECK(arch_infer(source, &arch, &err) == -EINVAL);
	CHECK(strstr(err.text, "num_hidden_layers is 5"));
	free_source(source);
}

static void test_uncounted(void)
{
	char *names[] = {"a.layers.0.w", "a.layers.1.w", "b.0.w", NULL};
	AUTO(arch) arch = infer("{}", names);

	CHECK(arch->n_modules == 1 && !arch->modules[0].count_key);
	CHECK(arch->modules[0].n_layers == 2);
}

int main(void)
{
	test_split();
	test_canonical();
	test_single();
	test_modules();
	test_too_few();
	test_uncounted();
	return 0;
}
