"""Answers of members by a server: an adapter for each is written, loaded under a new name, asked, and unloaded.

A server may answer and have used no adapter, an old one, a part of one, or one on another base. So it is probed before
it is believed: log-probabilities of its own answers must be those that are computed here, by the base alone, with an
adapter of zero, and with one that changes answers, under two names. And each batch has two canaries: the adapter that
changes answers, which must do so, and the one of zero. They are loaded first, as what a server drops is the oldest, and
change places from batch to batch, so that an old adapter under a known name is seen.
"""

from __future__ import annotations

import logging
import os
import secrets
import shutil
import weakref
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from galab.errors import GalabError, ServerError, UsageError
from galab.evaluation.answer_servers import AnswerServer, Reply, Request
from galab.evaluation.answers import answer, divergence, log_probabilities, members_of
from galab.evaluation.batched.low_rank import LowRank, Stack
from galab.evaluation.generators import Texts
from galab.models.adapter_files import adapter_files, has_plain_targets
from galab.models.language_model import LanguageModel
from galab.storage.process_folder import process_folder

logger = logging.getLogger("galab")
#: How far log-probabilities of a token may be from those computed here, in nats in the mean, as a server may compute in
#: bfloat16: with the base; and with an adapter so much more for each nat that it changes.
_NEAR, _SHARE = 0.03, 0.05
#: The probe's adapter is made large enough to be as far as this from the base, in nats a token.
_FAR = 0.5
_MEMORY = Path("/dev/shm")


@dataclass(frozen=True, slots=True)
class _Canaries:
    """Adapters that stand in each batch, and what they are asked.

    Attributes:
        prompt: its tokens.
        base: what the base answers.
        nothing: the files of the adapter that changes nothing.
        changing: the files of the one that changes the answer.
    """

    prompt: Sequence[int]
    base: str
    nothing: dict[str, bytes]
    changing: dict[str, bytes]


class ServerGenerator:
    """See :class:`galab.evaluation.generators.Generator`.

    Args:
        module: the language model, whose base is that of the server.
        server: what answers.
        tokens: of an answer at most.
        folder: where adapters are written, for the server to read; in memory when None.

    Raises:
        UsageError: members are no adapters, or none that servers read.
    """

    def __init__(self, module: LanguageModel, server: AnswerServer, tokens: int, folder: str | None = None) -> None:
        if not all(layer.low_rank for layer in module.adapted.values()):
            raise UsageError(f"expected --adapt lora with --generator {server.name}, got full; servers load adapters")
        if not has_plain_targets(module):
            raise UsageError(
                f"expected --layers of whole kinds in whole blocks with --generator {server.name}, such as 0-9 or "
                "'*q_proj', as servers cannot be told of single layers; choose others"
            )
        self._reference = weakref.ref(module)  # the module may know this generator
        self._server, self._tokens = server, tokens
        self._parent = folder
        self._token, self._count = secrets.token_hex(4), 0
        self._folder: Path | None = None
        self._version: str | None = None
        self._canaries: _Canaries | None = None
        self._turn = 0  # the place of the changing canary

    @property
    def _module(self) -> LanguageModel:
        found = self._reference()
        assert found is not None
        return found

    @property
    def name(self) -> str:
        """See :attr:`galab.evaluation.generators.Generator.name`."""
        if self._version is None:
            self._version = self._server.version()
        return f"a server of {self._server.name} {self._version}"

    def texts(self, weights: Mapping[str, Stack] | None, prompts: Sequence[Sequence[int]]) -> Texts:
        """See :meth:`galab.evaluation.generators.Generator.texts`."""
        if weights is None:
            replies = self._asked([Request(prompt) for prompt in prompts])
            return Texts([[reply.text for reply in replies]], frozenset(), sum(reply.count for reply in replies))
        if self._canaries is None:
            self.check(prompts[:1])
        canaries = self._canaries
        assert canaries is not None
        self._turn = 1 - self._turn
        pair = [canaries.nothing, canaries.changing] if self._turn else [canaries.changing, canaries.nothing]
        members = members_of(weights)
        tensors = [_one(weights, place) for place in range(members)]
        whole = [all(bool(value.isfinite().all()) for value in own.values()) for own in tensors]
        adapters = pair + [self._files(own) for own, good in zip(tensors, whole, strict=True) if good]
        replies = self._told(adapters, [*[[canaries.prompt]] * 2, *[prompts] * (len(adapters) - 2)])
        if replies[self._turn].text == canaries.base:
            raise self._server.refused(
                "use the adapters that it has loaded", "the base's answer from one that gave another before; it has "
                f"dropped some, or kept old ones: let it hold {len(adapters)} at once, or lower --chunk"
            )  # fmt: skip
        told = iter(replies[2:])
        texts = [[next(told).text for _ in prompts] if good else ["" for _ in prompts] for good in whole]
        broken = frozenset(place for place, good in enumerate(whole) if not good)
        return Texts(texts, broken, sum(reply.count for reply in replies[2:]))

    def check(self, prompts: Sequence[Sequence[int]]) -> None:
        """Probe the server; see :mod:`galab.evaluation.server_generator`.

        Raises:
            ServerError: its answers are not those of the base, or do not follow the adapters.
        """
        if self._canaries is not None:
            return
        refused, base = self._server.refused, self._module.base
        logger.debug("probing %s at %s", self.name, self._server.url)
        plain = self._asked([Request(prompt) for prompt in prompts], log_probabilities=True)
        if not (far := self._apart(prompts, plain, None)) <= _NEAR:  # NaN is not near
            raise refused(
                f"serve '{base.name}'", f"answers whose log-probabilities are {far:.2g} nats from that base's; start "
                "it with the same model"
            )  # fmt: skip
        for reply in plain:
            own = base.text([token for token in reply.tokens if token not in base.ends])
            if reply.text.strip() != own.strip():
                raise refused("return the answer alone", f"{reply.text[:60]!r} in place of {own[:60]!r}")
        nothing, large = self._probes(prompts[0])
        adapters = [self._files(own) for own in (nothing, large, large)]
        replies = self._told(adapters, [prompts] * 3, log_probabilities=True)
        zero, first, second = (replies[place * len(prompts) : (place + 1) * len(prompts)] for place in range(3))
        if not (far := self._apart(prompts, zero, nothing)) <= _NEAR:
            raise refused("answer as its base with an adapter of zero", f"log-probabilities {far:.2g} nats from it")
        for found, what in ((first, "an adapter"), (second, "the same adapter under another name")):
            far, change = (self._apart(prompts, found, own) for own in (large, None))
            if not far <= _NEAR + _SHARE * change:
                unchanged = all(one.text == other.text for one, other in zip(found, plain, strict=True))
                raise refused(
                    f"answer by {what}", f"log-probabilities {far:.2g} nats from those that belong to it, and "
                    f"{change:.2g} from the base's here; {_advice(unchanged)}"
                )  # fmt: skip
        self._canaries = _Canaries(prompts[0], plain[0].text, *adapters[:2])

    def _apart(
        self, prompts: Sequence[Sequence[int]], replies: Sequence[Reply], weights: Mapping[str, Tensor] | None
    ) -> float:
        """Mean distance of the replies' log-probabilities to those computed here, in nats."""
        stacked = None if weights is None else self._here(weights)
        found, known = list[Tensor](), self._module.base.vocabulary
        for prompt, reply in zip(prompts, replies, strict=True):
            if not reply.tokens or len(reply.tokens) != len(reply.log_probabilities):
                raise self._server.refused("give log-probabilities", "none")
            if not all(0 <= token < known for token in reply.tokens):
                raise self._server.refused(
                    f"serve '{self._module.base.name}', which has {known:,} tokens", f"token {max(reply.tokens):,}; "
                    "start it with the same model"
                )  # fmt: skip
            (own,) = log_probabilities(self._module, stacked, prompt, reply.tokens)
            found.append((own - torch.tensor(reply.log_probabilities, dtype=torch.float64)).abs().mean())
        return float(torch.stack(found).mean())

    def _probes(self, prompt: Sequence[int]) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """An adapter that changes nothing, and one that changes the answer but leaves some language."""
        generator = torch.Generator().manual_seed(0)
        nothing, step = dict[str, Tensor](), dict[str, Tensor]()
        for name, value in self._module.named_parameters():
            drawn = torch.randn(value.shape, generator=generator)
            inner = name.endswith("lora_A")
            nothing[name] = drawn if inner else torch.zeros(value.shape)
            step[name] = torch.zeros(value.shape) if inner else drawn
        (base,) = answer(self._module, None, [prompt], self._tokens).tokens
        size, large = 1e-4, nothing
        while size < 1e4:
            size *= 2
            large = {name: nothing[name] + size * step[name] for name in nothing}
            here = self._here(large)
            far = float(divergence(self._module, here, prompt, base[0])[0]) > _FAR
            if far and answer(self._module, here, [prompt], self._tokens).tokens[0] != base:
                break
        return nothing, large

    def _here(self, weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
        return {name: value[None].to(self._module.base.device) for name, value in weights.items()}

    def _files(self, weights: Mapping[str, Tensor]) -> dict[str, bytes]:
        return adapter_files(self._module, weights, rank_step=self._server.rank_step)

    def _asked(self, requests: Sequence[Request], *, log_probabilities: bool = False) -> list[Reply]:
        ends = sorted(self._module.base.ends)
        try:
            return self._server.replies(requests, self._tokens, ends, log_probabilities=log_probabilities)
        except (TypeError, ValueError, AttributeError) as error:
            raise self._server.refused("answer in the form that is known of it", f"{error}") from error

    def _told(
        self, adapters: Sequence[Mapping[str, bytes]], prompts: Sequence[Sequence[Sequence[int]]], *,
        log_probabilities: bool = False,
    ) -> list[Reply]:  # fmt: skip
        """The answers of each adapter to its prompts, one after the other; once more if some was lost meanwhile."""
        try:
            return self._with_adapters(adapters, prompts, log_probabilities)
        except ServerError as error:
            if not error.answered:
                raise
            logger.debug("loading all adapters once more: %s", error)
        return self._with_adapters(adapters, prompts, log_probabilities)

    def _with_adapters(
        self, adapters: Sequence[Mapping[str, bytes]], prompts: Sequence[Sequence[Sequence[int]]], logs: bool
    ) -> list[Reply]:
        names = list[str]()
        try:
            for files in adapters:
                name = self._new_name()
                folder = self._written(name, files)
                names.append(name)
                self._load(name, folder, len(adapters))
            pairs = zip(names, prompts, strict=True)
            return self._asked([Request(one, name) for name, own in pairs for one in own], log_probabilities=logs)
        finally:
            self._forget(names)

    def _new_name(self) -> str:
        """A name that the server has never heard: under an old one it might answer by the old adapter."""
        self._count += 1
        return f"galab-{self._token}-{self._count}"

    def _load(self, name: str, folder: Path, count: int) -> None:
        try:
            self._server.load(name, str(folder))
        except ServerError as error:
            (rank,) = {len(value) for key, value in self._module.named_parameters() if key.endswith("lora_A")}
            rank += -rank % self._server.rank_step
            raise ServerError(
                f"{error}; it has to allow LoRA, rank {rank} and {count} adapters beside those of runs that were "
                f"killed, and to see '{folder.parent}' (--adapter-folder)"
            ) from error

    def _written(self, name: str, files: Mapping[str, bytes]) -> Path:
        """Where an adapter lies now."""
        try:
            if self._folder is None or not self._folder.is_dir():
                parent = Path(self._parent) if self._parent else _MEMORY if os.access(_MEMORY, os.W_OK) else None
                self._folder = process_folder("galab-adapters-", parent)
                weakref.finalize(self, shutil.rmtree, self._folder, ignore_errors=True)
                self._folder.chmod(0o755)  # a server may be another user's
            place = self._folder / name
            place.mkdir()
            for file, content in files.items():
                (place / file).write_bytes(content)
            return place
        except OSError as error:
            raise GalabError(
                f"expected to write adapters of {sum(map(len, files.values())):,} bytes into "
                f"'{self._folder or self._parent or _MEMORY}', got {error.strerror or error}; name another folder "
                "with --adapter-folder, and resume the run if it had begun"
            ) from error

    def _forget(self, names: Sequence[str]) -> None:
        for name in names:
            shutil.rmtree((self._folder or Path()) / name, ignore_errors=True)
        for name in names:
            try:
                self._server.unload(name)
            except ServerError as error:  # it may have dropped it already
                logger.debug("%s", error)
                if not error.answered:
                    return


def _one(weights: Mapping[str, Stack], place: int) -> dict[str, Tensor]:
    """The tensors of one member."""
    found = dict[str, Tensor]()
    for name, own in weights.items():
        found[name] = (own.member(place) if isinstance(own, LowRank) else own[place]).cpu()
    return found


def _advice(unchanged: bool) -> str:
    """What may be wrong with a server that does not follow adapters."""
    if unchanged:
        return "it answers as if it had none: start it with LoRA enabled, or use another version"
    return (
        "it used a part of it, an old one, or another scale: let it adapt all of --layers (such as "
        "--lora-target-modules all), without a cache of prefixes (--disable-radix-cache, --no-enable-prefix-caching)"
    )
