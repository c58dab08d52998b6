"""Hyperparameters of language models that answer prompts."""

from __future__ import annotations

from dataclasses import dataclass

from galab.config.option import option

#: Heading of the help.
LANGUAGE = "Language models that answer prompts"


@dataclass(frozen=True, slots=True, kw_only=True)
class LanguageFields:
    """See :class:`galab.config.fields.Fields`."""

    adapt: str = option(
        "full", "What of a language model is evolved: full is all weights of its linear layers, lora is two factors of "
        "low rank beside each.", choices=("full", "lora"), group=LANGUAGE, advanced=True,
    )
    lora_rank: int | None = option(
        None, "Rank of the factors of --adapt lora; 4 when absent.", low=1, high=1024, group=LANGUAGE,
        advanced=True,
    )
    layers: str | None = option(
        None, "Layers that are evolved: numbers of blocks, such as 0-9, or patterns of names, such as '*q_proj'; all "
        "linear layers when absent.", group=LANGUAGE, advanced=True,
    )
    sigma_relative: str = option(
        "off", "Whether step sizes are in units of the root mean square of each layer's weights.",
        choices=("on", "off"), group=LANGUAGE, advanced=True,
    )
    baseline: str = option(
        "none", "What rewards are compared with: with prompt, those of each prompt are standardised over the members, "
        "so that no prompt outweighs another.", choices=("none", "prompt"), group=LANGUAGE, advanced=True,
        kinds=("evolution", "vectors"),
    )
    find_sigma: str = option(
        "off", "Whether up to five step sizes are tried before the run, --sigma first, until 20 to 60 % of the answers "
        "differ from the base model's.", choices=("on", "off"), group=LANGUAGE, advanced=True,
    )
    answer_tokens: int | None = option(
        None, "Tokens of an answer at most; 32 when absent.", low=1, high=100_000, group=LANGUAGE,
        advanced=True,
    )
    generator: str = option(
        "transformers", "What computes answers: transformers in galab's own processes; or a server, sglang or vllm, "
        "which loads an adapter of each member.", choices=("transformers", "sglang", "vllm"), group=LANGUAGE,
        advanced=True, changeable=True,
    )
    server: str | None = option(
        None, "URL of the server; http://127.0.0.1:30000 of sglang and http://127.0.0.1:8000 of vllm when absent, on "
        "each machine its own.", group=LANGUAGE, advanced=True, changeable=True,
    )
    adapter_folder: str | None = option(
        None, "Folder in which a server finds the adapters; memory (/dev/shm) when absent.", group=LANGUAGE,
        advanced=True, changeable=True,
    )
