"""The order in which a model registered its parameters, where a file does not keep it: safetensors sorts its names.

`named_parameters()` goes through the modules as they were registered, each with its own parameters before those of the
modules in it. Numbered modules stand in their order, everything below a module stands together, and the shapes of the
optimizer's state say what may stand where. What is still open follows the architectures of transformers: the order of
modules in modeling_*.py.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence

from ckptdoctor.references import TensorRef

Shape = tuple[int, ...]
Fits = Callable[[int, int, Shape], bool]
"""(group, place in it, shape): whether a parameter of this shape may stand there."""

MOST_STEPS = 200_000

_KNOWN = (
    "base_model", "shared", "transformer", "bert", "roberta", "distilbert", "model", "embeddings", "embed_tokens",
    "word_embeddings", "wte", "wpe", "tok_embeddings", "position_embeddings", "embed_positions",
    "token_type_embeddings",
    "patch_embeddings", "encoder", "decoder", "h", "layers", "layer", "block", "blocks",
    "ln_1", "norm1", "layernorm_before", "self_attn", "attention", "attn", "SelfAttention", "EncDecAttention", "self",
    "c_attn", "query", "key", "value", "q", "k", "v", "o", "q_proj", "k_proj", "v_proj", "o_proj", "out_proj",
    "q_lin", "k_lin", "v_lin", "out_lin", "query_key_value", "sa_layer_norm",
    "self_attn_layer_norm", "encoder_attn", "encoder_attn_layer_norm", "ln_2", "norm2", "crossattention",
    "intermediate", "mlp", "ffn", "feed_forward", "c_fc", "fc1", "lin1", "gate_proj", "up_proj", "down_proj", "wi",
    "wi_0", "wi_1", "wo", "fc2", "lin2", "c_proj", "dense_h_to_4h", "dense_4h_to_h", "output", "dense", "LayerNorm",
    "layer_norm", "output_layer_norm", "layernorm_after", "input_layernorm", "post_attention_layernorm",
    "final_layer_norm", "ln_f", "norm", "layernorm", "final_norm", "pooler", "lm_head", "pre_classifier", "qa_outputs",
    "classifier", "score", "head", "weight", "bias",
)  # fmt: skip
_RANKS = {name: rank for rank, name in enumerate(_KNOWN)}
_BART = ("k_proj", "v_proj", "q_proj", "out_proj")
"""BART, OPT and CLIP register the key first."""


class Module:
    """A module, by the names of its parameters.

    Attributes:
        own: Its own parameters.
        inner: The modules in it.
    """

    def __init__(self) -> None:
        self.own: list[str] = []
        self.inner: dict[str, Module] = {}

    def all(self) -> Iterator[str]:
        """Every parameter in it."""
        yield from self.own
        for each in self.inner.values():
            yield from each.all()


def tree(names: Sequence[str]) -> Module:
    """The modules that names like `h.0.attn.c_attn.weight` tell."""
    root = Module()
    for name in names:
        at = root
        *path, _ = name.split(".")
        for part in path:
            at = at.inner.setdefault(part, Module())
        at.own.append(name)
    return root


def orders(
    known: Mapping[str, TensorRef], sizes: Sequence[int], fits: Fits, group_of: Callable[[str], int]
) -> list[str] | None:
    """The likeliest order of registration that the shapes allow, group by group; None if there is none.

    Args:
        known: The parameters.
        sizes: How many places each group has.
        fits: What may stand where.
        group_of: The group of a parameter.
    """
    root = tree(list(known))
    counted = _sizes(known, group_of, len(sizes))
    if counted == list(sizes):
        left_out: list[set[str]] = [set()]
    elif all(have >= want for have, want in zip(counted, sizes, strict=True)):
        lacking = [have - want for have, want in zip(counted, sizes, strict=True)]
        left_out = [set(each) for each in _frozen(root, lacking, group_of)]
    else:
        return None
    for frozen in left_out:
        search = _Search(known, fits, group_of, len(sizes), frozen)
        found = search.run(root)
        if found is not None:
            return found
    return None


def _sizes(names: Mapping[str, TensorRef] | set[str], group_of: Callable[[str], int], groups: int) -> list[int]:
    found = [0] * groups
    for name in names:
        found[group_of(name)] += 1
    return found


def _frozen(root: Module, lacking: Sequence[int], group_of: Callable[[str], int]) -> Iterator[tuple[str, ...]]:
    """Modules, whole or with all before them, that have just as many parameters as places lack."""
    open_to = [root]
    while open_to:
        module = open_to.pop(0)
        before: list[str] = []
        for each in sorted(module.inner, key=lambda name: _rank(name, module)):
            whole = tuple(module.inner[each].all())
            before += whole
            for names in dict.fromkeys((whole, tuple(before))):
                if _sizes(set(names), group_of, len(lacking)) == list(lacking):
                    yield names
            open_to.append(module.inner[each])


def _rank(name: str, around: Module) -> tuple[int, int, int, str]:
    if name.isdecimal() and len(name) < 10:  # noqa: PLR2004 - no model has so many layers
        return 0, int(name), 0, name
    if name in _BART and "out_proj" in around.inner:
        return 1, _RANKS["q_proj"], _BART.index(name), name
    return (1, _RANKS[name], 0, name) if name in _RANKS else (2, 0, 0, name)


class _Search:
    """Puts modules one after the other, as their likeliest order and the shapes say, and takes back what fits not."""

    def __init__(
        self, known: Mapping[str, TensorRef], fits: Fits, group_of: Callable[[str], int], groups: int, frozen: set[str]
    ) -> None:
        self._known = known
        self._fits = fits
        self._group_of = group_of
        self._at = [0] * groups
        self._frozen = frozen
        self._steps = 0
        self._order: list[str] = []

    def run(self, root: Module) -> list[str] | None:
        """The parameters in the order that was found, group by group."""
        if not self._place(root, lambda: True):
            return None
        groups: list[list[str]] = [[] for _ in self._at]
        for name in self._order:
            groups[self._group_of(name)].append(name)
        return [name for group in groups for name in group]

    def _place(self, module: Module, then: Callable[[], bool]) -> bool:
        """Puts a module's own parameters, then what is in it, then the rest."""
        self._steps += 1
        if self._steps > MOST_STEPS:
            return False
        own = sorted((name for name in module.own if name not in self._frozen), key=_last)
        placed = 0
        for name in own:
            group = self._group_of(name)
            if not self._fits(group, self._at[group], self._known[name].shape):
                break
            self._at[group] += 1
            self._order.append(name)
            placed += 1
        if placed == len(own) and self._inner(module, frozenset(module.inner), then):
            return True
        for name in own[:placed]:
            self._at[self._group_of(name)] -= 1
        del self._order[len(self._order) - placed :]
        return False

    def _inner(self, module: Module, left: frozenset[str], then: Callable[[], bool]) -> bool:
        if not left:
            return then()
        likely = sorted(left, key=lambda name: _rank(name, module))
        numbered = [name for name in likely if name.isdecimal()]
        for name in numbered[:1] if len(numbered) == len(likely) else likely:
            if self._place(module.inner[name], lambda name=name: self._inner(module, left - {name}, then)):  # type: ignore[misc]
                return True
        return False


def _last(name: str) -> tuple[int, str]:
    last = name.rpartition(".")[2]
    return _RANKS.get(last, len(_RANKS) - 3), last
