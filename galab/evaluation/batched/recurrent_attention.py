"""Recurrent layers and attention for all members at once.

Each hides its products with the weights inside one torch function, so each is rewritten here with a product that takes
low-rank and dense members alike. A rule takes the number of members P first, then what the module passed,
with stacks in the place of parameters; activations carry their tags. Results are member-major.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from galab.evaluation.batched import dense, low_rank_layers
from galab.evaluation.batched.dense import Fold
from galab.evaluation.batched.low_rank import FOLDED, LowRank, Stack, tag_of

#: From the input's and the state's part of the gates, (N, gates), and the state to the next state.
Step = Callable[[Tensor, Tensor, tuple[Tensor, ...]], tuple[Tensor, ...]]


def product(members: int, x: Tensor, folded: bool, weight: Stack, bias: Tensor | None) -> Tensor:
    """``F.linear`` of all members, as (P * B, ..., out).

    Args:
        members: P.
        x: (P * B, ..., in), or (B, ..., in) that all members share.
        folded: which of the two.
        weight: stack of (out, in); a tensor of that shape is the same for all members.
        bias: stack of (out,), or one for all.
    """
    fold = Fold(members, len(x) // (members if folded else 1), by_member=True)
    if bias is not None and bias.dim() == 1:
        bias = bias.expand(members, -1)
    if isinstance(weight, LowRank):
        return low_rank_layers.linear(fold, x, weight, bias)
    return dense.linear(fold, x, weight.expand(members, *weight.shape[-2:]), bias)


def _folded(members: int, x: Tensor, other: Tensor, axes: int) -> bool:
    """Whether an activation holds the rows of all members.

    One that does not come from the inputs, a first state of zeros, was made as long as the other activation.
    """
    tag = FOLDED if members == 1 else tag_of(x) or tag_of(other)
    if tag is None or x.dim() != axes or other.dim() != axes:
        raise NotImplementedError("a composite function of something else than a batch of the inputs")
    return tag == FOLDED


def _every(members: int, x: Tensor, folded: bool) -> Tensor:
    """(P * B, ...) of an activation that may be shared."""
    return x if folded else x.expand(members, *x.shape).flatten(0, 1)


# Recurrent cells.


def _gru(x: Tensor, h: Tensor, state: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    reset_x, update_x, new_x = x.chunk(3, -1)
    reset_h, update_h, new_h = h.chunk(3, -1)
    new = torch.tanh(new_x + torch.sigmoid(reset_x + reset_h) * new_h)
    return (new + torch.sigmoid(update_x + update_h) * (state[0] - new),)


def _lstm(x: Tensor, h: Tensor, state: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    enter, forget, new, leave = (x + h).chunk(4, -1)
    cell = torch.sigmoid(forget) * state[1] + torch.sigmoid(enter) * torch.tanh(new)
    return torch.sigmoid(leave) * torch.tanh(cell), cell


def _tanh(x: Tensor, h: Tensor, state: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    return (torch.tanh(x + h),)


def _relu(x: Tensor, h: Tensor, state: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    return (torch.relu(x + h),)


def _cell(step: Step) -> Callable[..., Any]:
    """The rule for one step of a recurrent network, such as ``torch.gru_cell``."""

    def rule(
        members: int,
        input: Tensor,
        hx: Any,
        w_ih: Stack,
        w_hh: Stack,
        b_ih: Tensor | None = None,
        b_hh: Tensor | None = None,
    ) -> Any:
        """One step for each member."""
        parts = (hx,) if isinstance(hx, Tensor) else tuple(hx)
        x = product(members, input, _folded(members, input, parts[0], 2), w_ih, b_ih)
        h = product(members, parts[0], _folded(members, parts[0], input, 2), w_hh, b_hh)
        state = step(x, h, tuple(_every(members, part, _folded(members, part, input, 2)) for part in parts))
        return state[0] if isinstance(hx, Tensor) else state

    return rule


def _layers(step: Step) -> Callable[..., Any]:
    """The rule for layers of a recurrent network over time, such as ``torch.gru``."""

    def rule(
        members: int,
        input: Tensor,
        hx: Any,
        weights: list[Any],
        has_biases: bool,
        num_layers: int,
        dropout: float,
        train: bool,
        bidirectional: bool,
        batch_first: bool = False,
    ) -> Any:
        """All layers, one step after the other, for each member."""
        directions = 2 if bidirectional else 1
        if not isinstance(weights, list) or not isinstance(has_biases, bool) or (train and dropout):
            raise NotImplementedError("packed sequences and dropout")
        kinds = len(weights) // (num_layers * directions)
        parts = (hx,) if isinstance(hx, Tensor) else tuple(hx)
        state_folded = [_folded(members, part, input, 3) for part in parts]
        folded = _folded(members, input, parts[0], 3)
        x = input if batch_first else input.transpose(0, 1)
        last: list[tuple[Tensor, ...]] = []
        for _ in range(num_layers):
            outputs = []
            for direction in range(directions):
                place = len(last)
                own = weights[place * kinds : (place + 1) * kinds]
                state = tuple(
                    _every(members, part[place], of_all) for part, of_all in zip(parts, state_folded, strict=True)
                )
                ran = _over_time(step, members, x.flip(1) if direction else x, folded, state, own)
                outputs.append(ran[0].flip(1) if direction else ran[0])
                last.append(ran[1])
            x, folded = torch.cat(outputs, dim=2), True
        ends = tuple(torch.stack(parts) for parts in zip(*last, strict=True))
        return (x if batch_first else x.transpose(0, 1), *ends)

    return rule


def _over_time(
    step: Step, members: int, x: Tensor, folded: bool, state: tuple[Tensor, ...], weights: list[Any]
) -> tuple[Tensor, tuple[Tensor, ...]]:
    """One layer in one direction on (B or P * B, T, in): the states (P * B, T, out) and the last."""
    w_ih, w_hh, *others = weights
    b_ih, b_hh = others[:2] if len(others) > 1 else (None, None)
    projection = others[-1] if len(others) % 2 else None  # of the states of a long short-term memory
    gates = product(members, x, folded, w_ih, b_ih)
    outputs = []
    for time in range(x.shape[1]):
        state = step(gates[:, time], product(members, state[0], True, w_hh, b_hh), state)
        if projection is not None:
            state = (product(members, state[0], True, projection, None), *state[1:])
        outputs.append(state[0])
    return torch.stack(outputs, dim=1), state


# Attention.


def _part(weight: Stack | None, number: int, width: int) -> Any:
    """One of the three projections that lie under each other in one stack."""
    if weight is None:
        return None
    rows = slice(number * width, (number + 1) * width)
    if isinstance(weight, LowRank):
        return weight.rows_between(rows.start, rows.stop)
    return weight[..., rows] if weight.dim() < 3 else weight[..., rows, :]


def _mask(q: Tensor, mask: Tensor | None, padding: Tensor | None) -> Tensor | None:
    """What is added to the scores of queries (P * B, heads, T, width).

    Args:
        q: the queries.
        mask: (T, S), or (N * heads, T, S) with N = B or P * B.
        padding: (N, S).
    """
    rows, heads = q.shape[:2]

    def additive(given: Tensor, count: int) -> Tensor:
        """As numbers, the first axis repeated for the members where it has but one of them."""
        if given.dtype == torch.bool:  # true is where attention is forbidden
            given = torch.zeros_like(given, dtype=q.dtype).masked_fill(given, float("-inf"))
        return given.to(q.dtype).repeat(count // len(given), *[1] * (given.dim() - 1))

    total = None
    if mask is not None:
        every = mask.dim() == 3
        total = additive(mask, rows * heads if every else len(mask))
        total = total.unflatten(0, (rows, heads)) if every else total
    if padding is not None:
        padding = additive(padding, rows)[:, None, None]
        total = padding if total is None else total + padding
    return total


def multi_head_attention_forward(
    members: int,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    embed_dim_to_check: int,
    num_heads: int,
    in_proj_weight: Stack | None,
    in_proj_bias: Tensor | None,
    bias_k: Any,
    bias_v: Any,
    add_zero_attn: bool,
    dropout_p: float,
    out_proj_weight: Stack,
    out_proj_bias: Tensor | None,
    training: bool = True,
    key_padding_mask: Tensor | None = None,
    need_weights: bool = True,
    attn_mask: Tensor | None = None,
    use_separate_proj_weight: bool = False,
    q_proj_weight: Stack | None = None,
    k_proj_weight: Stack | None = None,
    v_proj_weight: Stack | None = None,
    static_k: Tensor | None = None,
    static_v: Tensor | None = None,
    average_attn_weights: bool = True,
    is_causal: bool = False,
) -> tuple[Tensor, Tensor | None]:
    """``F.multi_head_attention_forward`` of queries (T, N, E), keys and values (S, N, E) with N = B or P * B."""
    strange = (bias_k, bias_v, static_k, static_v)
    if add_zero_attn or (training and dropout_p) or any(given is not None for given in strange):
        raise NotImplementedError("attention with dropout, added or given keys and values")
    width, separate = embed_dim_to_check, (q_proj_weight, k_proj_weight, v_proj_weight)
    activations = [(x.transpose(0, 1), _folded(members, x, query, 3)) for x in (query, key, value)]
    if in_proj_weight is not None and not use_separate_proj_weight and query is key and key is value:
        projected = product(members, *activations[0], in_proj_weight, in_proj_bias).chunk(3, -1)
    else:
        weights = separate if use_separate_proj_weight else [_part(in_proj_weight, k, width) for k in range(3)]
        biases = [None if in_proj_bias is None else in_proj_bias[..., k * width : (k + 1) * width] for k in range(3)]
        each = zip(activations, weights, biases, strict=True)
        projected = tuple(product(members, x, of_all, weight, bias) for (x, of_all), weight, bias in each)
    q, k, v = (x.unflatten(-1, (num_heads, -1)).transpose(1, 2) for x in projected)  # (P * B, heads, T or S, width)
    mask = _mask(q, attn_mask, key_padding_mask)
    attention = None
    if need_weights:
        scores = (q * q.shape[-1] ** -0.5) @ k.transpose(-2, -1)
        attention = torch.softmax(scores if mask is None else scores + mask, dim=-1)
        y = attention @ v
    else:
        y = F.scaled_dot_product_attention(q, k, v, mask)
    y = product(members, y.transpose(1, 2).flatten(2), True, out_proj_weight, out_proj_bias).transpose(0, 1)
    if attention is not None and average_attn_weights:
        attention = attention.mean(1)
    return y, attention


#: Functions of torch that are computed from the products inside them.
COMPOSITE_RULES: dict[Any, Callable[..., Any]] = {
    torch.gru_cell: _cell(_gru),
    torch.lstm_cell: _cell(_lstm),
    torch.rnn_tanh_cell: _cell(_tanh),
    torch.rnn_relu_cell: _cell(_relu),
    torch.gru: _layers(_gru),
    torch.lstm: _layers(_lstm),
    torch.rnn_tanh: _layers(_tanh),
    torch.rnn_relu: _layers(_relu),
    F.multi_head_attention_forward: multi_head_attention_forward,
}
