/* tokenizer.model: every piece of what is accepted is found by text and id. */
#include <stdint.h>
#include <stdlib.h>

#include "merge/tokenizer/tokenizer.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	AUTO(tokenizer) tokenizer = NULL;
	struct error err;

	if (tokenizer_parse_sentencepiece((const char *)data, size, "fuzz",
					  &tokenizer, &err) < 0)
		return 0;
	for (uint32_t i = 0; i < tokenizer->n_tokens; i++) {
		const struct token *token = &tokenizer->tokens[i];
		if (token->id >= tokenizer->end ||
		    tokenizer_at(tokenizer, token->id) != token ||
		    tokenizer_find(tokenizer, token_text(tokenizer, token),
				   token->length) != token)
			abort();
	}
	return 0;
}
