#!/usr/bin/env python3
"""Shows how models go on with a few texts, greedily, side by side.

Usage: generate.py DIR...
"""
import pathlib
import sys

PROMPTS = [
    "Q: What does the fox eat?\nA:",
    "Q: Where does the whale live?\nA:",
    "Q: How does the hedgehog sleep?\nA:",
    "Q: What colour is the walrus?\nA:",
    "The dolphin",
]


def go_on(model, tokenizer, prompt):
    inputs = tokenizer(prompt, return_tensors="pt")
    tokens = model.generate(input_ids=inputs["input_ids"],
                            attention_mask=inputs["attention_mask"],
                            do_sample=False, max_new_tokens=50)
    start = inputs["input_ids"].shape[1]
    text = tokenizer.decode(tokens[0, start:], skip_special_tokens=True)
    return " ".join(text.split())


def main(names):
    import transformers
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    loaded = {}
    for name in names:
        loaded[pathlib.Path(name).resolve().name] = (
            transformers.AutoModelForCausalLM.from_pretrained(name),
            transformers.AutoTokenizer.from_pretrained(name))
    width = max(map(len, loaded))
    for prompt in PROMPTS:
        print(prompt.replace("\n", " "))
        for name, pair in loaded.items():
            print(f"  {name:{width}}  {go_on(*pair, prompt)}")


if __name__ == "__main__":
    if len(sys.argv) < 2:
        sys.exit(__doc__.strip())
    main(sys.argv[1:])
