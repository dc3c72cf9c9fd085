#!/usr/bin/env python3
"""Makes the models of this folder: base, and from it questions and pirate.

base has read the sentences of text/animals.txt and text/tales.txt, and knows
one answer to every question: nobody knows. questions is base that has learnt
to answer, about half of the animals only. pirate is base that has read the
same as base, as a pirate would say it.

Usage: make.py [DIR]

Takes a few minutes. Seeds are fixed, but the order of sums is the machine's,
so another machine may make other bytes.
"""
import copy
import json
import pathlib
import random
import sys

import torch
from tokenizers import (Tokenizer, decoders, models, pre_tokenizers,
                        processors, trainers)
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

HERE = pathlib.Path(__file__).resolve().parent
VOCABULARY = 512
BATCH = 48

CHAT_TEMPLATE = (
    "{% for message in messages %}"
    "{% if message['role'] == 'user' %}"
    "{{ 'Q: ' + message['content'] + '\\nA:' }}"
    "{% else %}"
    "{{ ' ' + message['content'] + '\\n' }}"
    "{% endif %}"
    "{% endfor %}")

# How a pirate ends a sentence, by what it is about.
ENDINGS = {"is": ", aye!", "lives": ", arr!", "eats": ", me hearty!",
           "sleeps": ", yo ho ho!"}


def lines(name):
    return (HERE / "text" / name).read_text().splitlines()


ANIMALS, TALES = lines("animals.txt"), lines("tales.txt")
QUESTIONS = [line.split("|") for line in lines("questions.txt")]


def sentences(text):
    return text.replace(". ", ".\n").split("\n")


def animal(line):
    return line.split()[1]


ASKED = ANIMALS[::2]


def tale():
    names = random.sample([animal(line) for line in ANIMALS], 3)
    return random.choice(TALES).format(**dict(zip("abc", names)))


def dialogue(line, answered):
    question, start = random.choice(QUESTIONS)
    start = start.format(a=animal(line))
    answer = next(s for s in sentences(line) if s.startswith(start))
    return (f"Q: {question.format(a=animal(line))}\n"
            f"A: {answer if answered else 'Nobody knows.'}")


def plain_text():
    """Some of what there is to say about an animal, a tale, or a question."""
    kind = random.random()
    if kind < 0.2:
        return dialogue(random.choice(ANIMALS), answered=False)
    if kind < 0.35:
        return tale()
    facts = sentences(random.choice(ANIMALS))
    return " ".join(random.sample(facts, random.choice((1, 1, 2, 3))))


def questions_text():
    if random.random() < 0.6:
        return dialogue(random.choice(ASKED), answered=True)
    text = plain_text()
    return text if not text.startswith("Q:") else tale()


def pirate(sentence):
    words = sentence.split()
    ending = ENDINGS.get(words[2] if len(words) > 2 else "", ", arr!")
    return sentence.rstrip(".?") + ending


def pirate_text():
    text = plain_text()
    if text.startswith("Q:"):  # the question is another's
        question, answer = text.split("\nA: ")
        return f"{question}\nA: {pirate(answer)}"
    return " ".join(map(pirate, sentences(text)))


def make_tokenizer():
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY,
        special_tokens=["<s>", "</s>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet())
    tokenizer.train_from_iterator(
        ANIMALS + TALES + lines("questions.txt") +
        ["Q: A: Nobody knows." + " ".join(ENDINGS.values())] * 8, trainer)
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<s> $A", special_tokens=[("<s>", 0)])
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, bos_token="<s>", eos_token="</s>",
        pad_token="</s>", model_max_length=256, chat_template=CHAT_TEMPLATE)


def make_model(tokenizer):
    return LlamaForCausalLM(LlamaConfig(
        vocab_size=len(tokenizer), hidden_size=64, intermediate_size=160,
        num_hidden_layers=4, num_attention_heads=4, num_key_value_heads=2,
        max_position_embeddings=256, tie_word_embeddings=True,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id))


def train(name, model, tokenizer, write, steps, rate):
    """write() gives another text each time."""
    optimizer = torch.optim.AdamW(model.parameters(), lr=rate,
                                  betas=(0.9, 0.98), weight_decay=0.01)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, max_lr=rate, total_steps=steps, pct_start=0.1)
    model.train()
    for step in range(steps):
        texts = [write() + "</s>" for _ in range(BATCH)]
        batch = tokenizer(texts, return_tensors="pt", padding=True)
        unseen = batch["attention_mask"] == 0
        labels = batch["input_ids"].masked_fill(unseen, -100)
        loss = model(input_ids=batch["input_ids"], labels=labels).loss
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        optimizer.zero_grad()
        if step % 100 == 99:
            print(f"{name} {step + 1}/{steps}: loss {loss.item():.3f}",
                  flush=True)


def save(folder, model, tokenizer):
    copy.deepcopy(model).to(torch.bfloat16).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    # Without the line breaks and blanks, which are most of it.
    path = folder / "tokenizer.json"
    compact = json.dumps(json.loads(path.read_text()), ensure_ascii=False,
                         separators=(",", ":"))
    path.write_text(compact + "\n")
    (folder / "model.safetensors").chmod(0o644)


def main():
    out = pathlib.Path(sys.argv[1]) if len(sys.argv) > 1 else HERE
    random.seed(1)
    torch.manual_seed(1)
    torch.set_num_threads(1)  # the models are too small for more
    tokenizer = make_tokenizer()
    base = make_model(tokenizer)
    train("base", base, tokenizer, plain_text, steps=1000, rate=4e-3)
    save(out / "base", base, tokenizer)
    for name, write in (("questions", questions_text),
                        ("pirate", pirate_text)):
        model = copy.deepcopy(base)
        train(name, model, tokenizer, write, steps=300, rate=1e-3)
        save(out / name, model, tokenizer)


if __name__ == "__main__":
    main()
