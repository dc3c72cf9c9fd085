/*
 * Adapters' patterns as Python means them, and what adapter_config.json may
 * say.
 */
#include <errno.h>
#include <math.h>
#include <string.h>

#include "merge/source/adapter.h"
#include "merge/source/pattern.h"
#include "tests/unit/check.h"

static bool whole(const char *text, const char *name)
{
	AUTO(pattern) pattern = NULL;

	CHECK(pattern_new(text, &pattern, NULL) == 0);
	return pattern_matches(pattern, name);
}

static bool end(const char *text, const char *name)
{
	AUTO(pattern) pattern = NULL;

	CHECK(pattern_new(text, &pattern, NULL) == 0);
	return pattern_matches_end(pattern, name);
}

static void refused(const char *text)
{
	AUTO(pattern) pattern = NULL;
	struct error err = {0};

	CHECK(pattern_new(text, &pattern, &err) == -EINVAL);
	CHECK(*err.text);
}

static void test_patterns(void)
{
	CHECK(whole("q_proj", "q_proj"));
	CHECK(!whole("q_proj", "a.q_proj"));
	CHECK(end("q_proj", "model.layers.0.q_proj"));
	CHECK(!end("proj", "model.layers.0.q_proj"));
	CHECK(!end("q_proj", "q_proj.x"));
	CHECK(end("layers\\.1\\.mlp\\..*", "model.layers.1.mlp.up_proj"));
	CHECK(!end("layers\\.1\\.mlp\\..*", "model.layers.11.mlp.up_proj"));
	CHECK(end("^model.layers.1.up", "model.layers.1.up"));
	CHECK(!end("^layers.1.up", "model.layers.1.up"));
	CHECK(end("up|down", "a.down") && end("up|down", "up"));
	CHECK(whole(".*layers\\.[01]\\.(?:mlp\\.(gate|up)_proj|o_proj)",
		    "model.layers.1.mlp.up_proj"));
	CHECK(whole("(?:.*?(?:language|text).*?(?:q_proj|v_proj).*?)|(?:"
		    "\\bmodel\\.layers\\.[\\d]{1,}\\.q_proj)",
		    "model.layers.12.q_proj"));
	CHECK(whole("a\\d+\\w*", "a12_b") && !whole("a\\d+", "ab"));
	CHECK(whole("a{2,3}", "aaa") && !whole("a{2,3}", "aaaa"));
	CHECK(whole("[^.]+\\.[]x-]", "abc.]"));
	CHECK(!whole("a.c", "a.b.c") && whole("", ""));

	refused("(?=a)b");
	refused("(?P<n>a)");
	refused("(a)\\1");
	refused("a(");
	refused("a)");
	refused("[a");
	refused("a\\");
	refused("*");
	refused("a{100}{100}");
	refused("(a{999}){999}");
	refused("a++");
}

/* The sentence for a configuration, or NULL if it is accepted. */
static const char *judge(const char *text, struct adapter **ret)
{
	static struct error err;
	static cJSON *config;

	cJSON_Delete(config);
	config = NULL;
	CHECK(json_parse(text, strlen(text), "c", &config, NULL) == 0);
	return adapter_new(config, "c", ret, &err) < 0 ? err.text : NULL;
}

static void test_values(void)
{
	AUTO(adapter) adapter = NULL;

	CHECK(!judge("{\"peft_type\": \"LORA\", \"r\": 4, \"lora_alpha\": 6,"
		     "\"rank_pattern\": {\"q_proj\": 2, \"1.*\": 3},"
		     "\"alpha_pattern\": {\"a.up\": 0.5},"
		     "\"target_modules\": [\"q_proj\", \"a.up\"]}",
		     &adapter));
	CHECK(adapter_rank(adapter, "b.q_proj") == 2);
	CHECK(adapter_rank(adapter, "1.k") == 3);
	CHECK(adapter_rank(adapter, "k") == 4);
	CHECK(adapter_scale(adapter, "k") == 1.5);
	CHECK(adapter_scale(adapter, "x.a.up") == 0.125);
	CHECK(adapter_targets(adapter, "x.a.up"));
	CHECK(!adapter_targets(adapter, "x.aa.up"));
	adapter_free(TAKE(adapter));

	CHECK(!judge("{\"peft_type\": \"LORA\", \"use_rslora\": true,"
		     "\"target_modules\": \"all-linear\"}",
		     &adapter));
	CHECK(adapter_rank(adapter, "k") == 8);
	CHECK(fabs(adapter_scale(adapter, "k") - sqrt(8)) < 1e-12);
	CHECK(adapter_targets(adapter, "anything"));
}

static void bad(const char *members, const char *words)
{
	AUTO(adapter) adapter = NULL;
	char text[512];

	snprintf(text, sizeof(text), "{\"peft_type\": \"LORA\", %s}", members);
	const char *said = judge(text, &adapter);
	if (!said || !strstr(said, words))
		fprintf(stderr, "%s: %s\n", members, said ? said : "accepted");
	CHECK(said && strstr(said, words));
}

static void test_bad(void)
{
	AUTO(adapter) adapter = NULL;

	CHECK(strstr(judge("{}", &adapter), "peft_type"));
	CHECK(strstr(judge("{\"peft_type\": \"IA3\"}", &adapter), "IA3"));
	bad("\"r\": 0", "a rank");
	bad("\"r\": 2.5", "a rank");
	bad("\"r\": 1e300", "a number");
	bad("\"r\": \"8\"", "a number");
	bad("\"lora_alpha\": []", "lora_alpha must be a number");
	bad("\"rank_pattern\": []", "a map");
	bad("\"rank_pattern\": {\"(\": 1}", "rank_pattern '('");
	bad("\"use_dora\": 1", "use_dora must be true or false");
	bad("\"target_modules\": [1]", "target_modules");
	bad("\"target_modules\": {}", "target_modules");
	bad("\"layer_replication\": [[1, 1]]", "layer_replication");
	bad("\"layer_replication\": [1]", "layer_replication");
	bad("\"layer_replication\": {}", "layer_replication");
	bad("\"use_qalora\": true", "use_qalora");
	bad("\"init_lora_weights\": \"OLoRA\"", "OLoRA");
	bad("\"init_lora_weights\": \"loftq\"", "loftq");
}

int main(void)
{
	test_patterns();
	test_values();
	test_bad();
	return 0;
}
