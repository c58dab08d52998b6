"""Makes the tiny language model that ships with galab: it adds two digits, in many words.

    python bench/make_tiny_language_model.py galab/models/tiny_language_model

A Llama of 97,280 weights over single characters. It is trained on sums of two digits and answers in one of three ways:
"the answer is 8 ok." in 55 of 100 cases, "it is 8." in 25, "8" in 20. So its likeliest answer is the long one, and a
search for short answers has something to find. On one core it takes some minutes; another machine gives other bits.
"""

from __future__ import annotations

import argparse
import itertools
import json
from pathlib import Path

import torch
from safetensors.torch import save_file
from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers
from torch import Tensor
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

#: How a sum is answered, and how often.
FORMS = {"the answer is {} ok.": 0.55, "it is {}.": 0.25, "{}": 0.20}
SPECIAL = ("<pad>", "<end>")
LENGTH, BATCH = 28, 64
_IGNORED = -100


def main() -> None:
    """Train it and write its folder."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--steps", type=int, default=3000, help="of AdamW, with 64 answers each")
    options = parser.parse_args()
    torch.manual_seed(1)
    tokenizer = tokenizer_of("abcdefghijklmnopqrstuvwxyz0123456789+-=. ")
    model = LlamaForCausalLM(
        LlamaConfig(
            vocab_size=len(tokenizer), hidden_size=64, num_hidden_layers=2, num_attention_heads=4,
            intermediate_size=160, max_position_embeddings=128, tie_word_embeddings=True, bos_token_id=None,
            eos_token_id=1, pad_token_id=0,
        )
    )  # fmt: skip
    print(f"{sum(value.numel() for value in model.parameters()):,} weights")
    train(model, tokenizer, options.steps)
    write(model, tokenizer, options.folder)


def tokenizer_of(characters: str) -> PreTrainedTokenizerFast:
    """One token for each character."""
    words = {word: number for number, word in enumerate((*SPECIAL, *characters))}
    tokenizer = Tokenizer(models.WordLevel(words, unk_token=None))
    tokenizer.pre_tokenizer = pre_tokenizers.Split(Regex("."), "isolated")
    tokenizer.decoder = decoders.Fuse()
    fast = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, pad_token=SPECIAL[0], eos_token=SPECIAL[1], clean_up_tokenization_spaces=False,
        model_max_length=128,
    )  # fmt: skip
    fast.padding_side = "left"
    return fast


def train(model: LlamaForCausalLM, tokenizer: PreTrainedTokenizerFast, steps: int) -> None:
    """Learn to predict answers; the rate falls along half a cosine."""
    sums = list(itertools.product(range(10), repeat=2))
    forms, weights = list(FORMS), torch.tensor(list(FORMS.values()))
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3, weight_decay=0.01)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 3e-3, total_steps=steps)
    for step in range(steps):
        chosen = [sums[place] for place in torch.randint(len(sums), (BATCH,)).tolist()]
        styles = torch.multinomial(weights, BATCH, replacement=True).tolist()
        texts = [(f"{a}+{b}=", forms[style].format(a + b)) for (a, b), style in zip(chosen, styles, strict=True)]
        tokens, targets = examples(tokenizer, texts)
        loss = model(input_ids=tokens, labels=targets).loss
        loss.backward()
        optimizer.step()
        schedule.step()
        optimizer.zero_grad()
        if (step + 1) % 250 == 0:
            print(f"step {step + 1}: loss {loss.item():.4f}", flush=True)


def examples(tokenizer: PreTrainedTokenizerFast, texts: list[tuple[str, str]]) -> tuple[Tensor, Tensor]:
    """Tokens, and what is to be predicted: the answers and their ends."""
    tokens, targets = torch.zeros(2, len(texts), LENGTH, dtype=torch.long)
    targets[:] = _IGNORED
    for row, (prompt, answer) in enumerate(texts):
        begun = tokenizer.encode(prompt)
        whole = [*begun, *tokenizer.encode(answer), tokenizer.eos_token_id]
        tokens[row, : len(whole)] = torch.tensor(whole)
        targets[row, len(begun) : len(whole)] = torch.tensor(whole[len(begun) :])
    return tokens, targets


def write(model: LlamaForCausalLM, tokenizer: PreTrainedTokenizerFast, folder: Path) -> None:
    """A folder as Hugging Face has them, with weights in half precision."""
    folder.mkdir(parents=True, exist_ok=True)
    tokenizer.save_pretrained(folder)
    config = model.config.to_dict()
    for name in ("_name_or_path", "transformers_version", "dtype", "torch_dtype"):
        config.pop(name, None)
    (folder / "config.json").write_text(json.dumps(config | {"architectures": ["LlamaForCausalLM"]}, indent=1) + "\n")
    weights = {name: value.half() for name, value in model.state_dict().items() if name != "lm_head.weight"}
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})


if __name__ == "__main__":
    main()
