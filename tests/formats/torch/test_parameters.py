"""Whose state is whose: what names, order and shapes tell, and what has to stay unknown or be said to be open."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ckptdoctor.examination import examine
from ckptdoctor.formats.torch.parameters import Answer, Place, assign, parameters, strangers
from ckptdoctor.formats.torch.registration import orders
from ckptdoctor.references import FileRange, TensorRef
from ckptdoctor.state import TrainingState

Shape = tuple[int, ...]


def known(**shapes: Shape) -> dict[str, TensorRef]:
    """Weights of these shapes, one after the other; `_` in names is a dot."""
    return {
        name.replace("_", "."): TensorRef(name, "float32", shape, FileRange("f", 100 * at, 4))
        for at, (name, shape) in enumerate(shapes.items())
    }


def places(*groups: Sequence[Shape | None]) -> list[Place]:
    """Places whose states have these shapes; None for one without state."""
    return [
        Place(number, frozenset() if shape is None else frozenset({shape}))
        for number, group in enumerate(groups)
        for shape in group
    ]


MLP = known(a_weight=(4, 3), a_bias=(4,), b_weight=(2, 4), b_bias=(2,))
TWINS = known(a_weight=(4, 4), a_bias=(4,), b_weight=(4, 4), b_bias=(4,))
NAMES = ("a.weight", "a.bias", "b.weight", "b.bias")

CASES: dict[str, tuple[dict[str, TensorRef], list[Place], Answer]] = {
    "as registered": (MLP, places([(4, 3), (4,), (2, 4), (2,)]), Answer(NAMES, "order")),
    "reversed": (MLP, places([(2,), (2, 4), (4,), (4, 3)]), Answer(NAMES[::-1], "shape")),
    "any other order": (
        MLP,
        places([(2, 4), (4, 3), (2,), (4,)]),
        Answer(("b.weight", "a.weight", "b.bias", "a.bias"), "shape"),
    ),
    "decay first": (
        MLP,
        places([(4, 3), (2, 4)], [(4,), (2,)]),
        Answer(("a.weight", "b.weight", "a.bias", "b.bias"), "shape"),
    ),
    "the head first": (
        MLP,
        places([(2, 4), (2,)], [(4, 3), (4,)]),
        Answer(("b.weight", "b.bias", "a.weight", "a.bias"), "shape"),
    ),
    "equal shapes leave it open": (TWINS, places([(4, 4), (4,), (4, 4), (4,)]), Answer(NAMES, "order", proven=False)),
    "equal shapes in groups": (
        TWINS,
        places([(4, 4), (4, 4)], [(4,), (4,)]),
        Answer(("a.weight", "b.weight", "a.bias", "b.bias"), "order", proven=False),
    ),
    "the first layer was frozen": (MLP, places([(2, 4), (2,)]), Answer(("b.weight", "b.bias"), "shape")),
    "of three one was frozen": (
        known(a_w=(4, 4), b_w=(4, 4), c_w=(2,)),
        places([(4, 4), (4, 4)]),
        Answer(("a.w", "b.w"), "order", proven=False),
    ),
    "one of two equal ones was frozen": (TWINS, places([(4, 4), (4,)]), Answer((None, None), "shape", proven=False)),
    "frozen, and handed over": (MLP, places([None, None, (2, 4), (2,)]), Answer(NAMES, "order")),
    "a shape that no weight has": (MLP, places([(9, 9), (4,)]), Answer((None, "a.bias"), "shape", proven=False)),
    "more places than weights": (
        MLP,
        places([(4, 3), (4,), (2, 4), (2,), (7,)]),
        Answer((*NAMES, None), "shape", proven=False),
    ),
    "nothing to give": ({}, places([(4, 3)]), Answer((None,), "order", proven=False)),
}


@pytest.mark.parametrize("case", CASES)
def test_assigned(case: str) -> None:
    """Each place's parameter, what that rests on, and whether it is proven."""
    weights, held, expected = CASES[case]
    assert assign(held, weights) == expected


def test_what_an_optimizer_is_given() -> None:
    """Floats that are no buffers; of two names for one parameter the first."""
    tensors = known(bn_weight=(4,), h_weight=(4, 4), lm_weight=(4, 4))
    tensors["bn.running_mean"] = TensorRef("m", "float32", (4,), FileRange("f", 900, 4))
    tensors["bn.num_batches_tracked"] = TensorRef("n", "int64", (), FileRange("f", 950, 8))
    tensors["h.attn.bias"] = TensorRef("mask", "float32", (1, 1, 8, 8), FileRange("f", 960, 4))
    tensors["lm.weight"] = tensors["h.weight"]._replace(key="lm.weight")
    assert list(parameters(tensors)) == ["bn.weight", "h.weight"]


def test_strangers() -> None:
    """States of shapes that no weight has are counted, those without state are not."""
    assert strangers(places([(4, 3), None, (7,)]), [(4, 3), (4,)]) == 1


# ------------------------------------------------------------------------------------------------ order of registration


def _in_order(names: Iterable[tuple[str, Shape]]) -> list[str] | None:
    """The order that is found where the names come sorted and every place tells its shape."""
    registered = list(names)
    weights = {name: TensorRef(name, "float32", shape, None) for name, shape in sorted(registered)}

    def fits(_: int, at: int, shape: Shape) -> bool:
        return at < len(registered) and registered[at][1] == shape

    return orders(weights, [len(registered)], fits, lambda _: 0)


LAYERS = [
    (f"layers.{number}.{part}", shape)
    for number in range(11)
    for part, shape in (
        ("self_attn.q_proj.weight", (8, 8)),
        ("self_attn.k_proj.weight", (8, 8)),
        ("self_attn.v_proj.weight", (8, 8)),
        ("self_attn.o_proj.weight", (8, 8)),
        ("mlp.gate_proj.weight", (16, 8)),
        ("mlp.up_proj.weight", (16, 8)),
        ("mlp.down_proj.weight", (8, 16)),
        ("input_layernorm.weight", (8,)),
        ("post_attention_layernorm.weight", (8,)),
    )
]


def test_layers_of_a_llama() -> None:
    """Numbers count as numbers, and what shapes leave open is as transformers has it."""
    registered = [("embed_tokens.weight", (32, 8)), *LAYERS, ("norm.weight", (8,)), ("lm_head.weight", (32, 8))]
    assert _in_order(registered) == [name for name, _ in registered]


def test_shapes_decide_over_habits() -> None:
    """A head that was registered first is found there, as its shape fits nowhere else."""
    registered = [("score.weight", (2, 8)), ("score.bias", (2,)), ("body.weight", (8, 8)), ("body.bias", (8,))]
    assert _in_order(registered) == [name for name, _ in registered]


def test_no_order() -> None:
    """Shapes that fit no order of modules have none; a search that goes on for ever ends."""
    assert orders(known(a_weight=(3,)), [1], lambda *_: False, lambda _: 0) is None
    many = {f"m{number}.weight": TensorRef("", "float32", (4,), None) for number in range(40)}
    assert orders(many, [40], lambda _, at, __: at < 39, lambda _: 0) is None


# --------------------------------------------------------------------------------------------- from files of torch.save


def _trained(torch: Any, shapes: Mapping[str, Shape], groups: Sequence[Sequence[str]], unused: Iterable[str]) -> Any:
    """Weights of these names, and an optimizer of these groups that has made a step with each but the unused."""
    weights = {name: torch.nn.Parameter(torch.rand(shape)) for name, shape in shapes.items()}
    for name in {*weights} - {*unused}:
        weights[name].grad = torch.rand(shapes[name])
    optimizer = torch.optim.Adam([{"params": [weights[name] for name in group]} for group in groups])
    optimizer.step()
    return weights, optimizer


def _read(path: Path) -> TrainingState:
    (found,) = examine(str(path))
    assert found.state is not None
    return found.state


SHAPES = st.lists(st.sampled_from([(4, 3), (4,), (2, 4), (2,), (3, 3), (5,), (1,), (4, 4)]), min_size=1, max_size=7)


@st.composite
def programs(draw: st.DrawFn) -> tuple[dict[str, Shape], list[list[str]], list[str]]:
    """Weights, the groups that a program makes of them in any order, and those that had no gradient."""
    shapes = {f"layer{at}.weight": shape for at, shape in enumerate(draw(SHAPES))}
    order = draw(st.one_of(st.just(list(shapes)), st.permutations(list(shapes))))
    taken = order[draw(st.integers(0, max(0, len(order) - 1))) :] if draw(st.booleans()) else order
    cut = draw(st.integers(0, len(taken) - 1))
    groups = [group for group in (taken[:cut], taken[cut:]) if group]
    unused = draw(st.lists(st.sampled_from(taken), unique=True, max_size=len(taken) - 1)) if len(taken) > 1 else []
    return shapes, groups, unused


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(programs())
def test_never_wrong_without_a_word(
    tmp_path: Path, program: tuple[dict[str, Shape], list[list[str]], list[str]]
) -> None:
    """A slot has its own parameter or none; where it could be another's, that is said (S010)."""
    torch = pytest.importorskip("torch", exc_type=ImportError)
    shapes, groups, unused = program
    weights, optimizer = _trained(torch, shapes, groups, unused)
    path = tmp_path / "any.pt"
    torch.save({"model": weights, "optimizer": optimizer.state_dict()}, path)
    state = _read(path)
    (found,) = state.optimizers
    handed = [name for group in groups for name in group]
    told = [name for group in found.groups for name in group.variables]
    assert [len(group.variables) for group in found.groups] == [len(group) for group in groups]
    assert sum(slot.name == "exp_avg" for slot in found.slots) == len(handed) - len(unused)
    wrong = [one for one, other in zip(told, handed, strict=True) if one is not None and one != other]
    open_ = {each.code for each in state.oddities} & {"S010"}
    stepped = [name for name in handed if name not in unused]
    assert not [name for name in wrong if name in stepped] or open_, (told, handed)
    if len(set(shapes.values())) == len(shapes) and not unused:
        assert told == handed


def test_stored_names_are_believed(tmp_path: Path) -> None:
    """Where groups or state name their parameters, order and shapes do not matter, and nothing is open."""
    torch = pytest.importorskip("torch", exc_type=ImportError)
    weights, _ = _trained(torch, dict.fromkeys("abc", (3, 3)), [["a"]], [])
    named = [(name, weights[name]) for name in "cab"]
    for each in weights.values():
        each.grad = torch.rand(3, 3)
    optimizer = torch.optim.Adam(named)
    optimizer.step()
    stored = optimizer.state_dict()
    group = {key: value for key, value in stored["param_groups"][0].items() if key != "param_names"}
    by_name = {
        "state": {name: stored["state"][at] for at, (name, _) in enumerate(named)},
        "param_groups": [{**group, "params": [name for name, _ in named]}],
    }
    for content in (stored, by_name):
        torch.save({"model": weights, "optimizer": content}, tmp_path / "named.pt")
        state = _read(tmp_path / "named.pt")
        (found,) = state.optimizers
        assert found.groups[0].variables == ("c", "a", "b")
        assert {slot.mapping for slot in found.slots} == {"name"}
        assert "S010" not in {each.code for each in state.oddities}


def test_whose_optimizer(tmp_path: Path) -> None:
    """Of two models of equal shapes, the optimizer whose key resembles a model's trains that one."""
    torch = pytest.importorskip("torch", exc_type=ImportError)
    shapes = {"w": (3, 3), "b": (3,)}
    one, first = _trained(torch, shapes, [["w", "b"]], [])
    two, second = _trained(torch, shapes, [["w", "b"]], [])
    content = {"gen": one, "disc": two, "optim_disc": second.state_dict(), "optim_gen": first.state_dict()}
    torch.save(content, tmp_path / "gan.pt")
    found = {each.name: each.groups[0].variables for each in _read(tmp_path / "gan.pt").optimizers}
    assert found == {"optim_disc": ("disc/w", "disc/b"), "optim_gen": ("gen/w", "gen/b")}


def test_an_optimizer_of_another_model(tmp_path: Path) -> None:
    """State of shapes that no weight has is an error, and gets no parameter."""
    torch = pytest.importorskip("torch", exc_type=ImportError)
    weights, _ = _trained(torch, {"w": (3, 3), "b": (3,)}, [["w"]], [])
    _, other = _trained(torch, {"w": (7, 7), "b": (7,)}, [["w", "b"]], [])
    torch.save({"model": weights, "optimizer": other.state_dict()}, tmp_path / "mixed.pt")
    (found,) = examine(str(tmp_path / "mixed.pt"))
    assert found.state is not None
    assert {slot.variable for slot in found.state.optimizers[0].slots} == {None}
    assert "S016" in {each.code for each in found.findings}


def test_the_museum(museum: Path) -> None:
    """Each group has the parameters that the program gave it, in its order."""
    judged = 0
    for record in json.loads((museum / "truth.json").read_text(encoding="utf-8")):
        wanted = {each["name"]: each["groups"] for each in record["optimizers"] if "groups" in each}
        if not wanted or record["case"].endswith("optimizer-alone"):
            continue
        state = _read(museum / record["path"])
        found = {each.name: [list(group.variables) for group in each.groups] for each in state.optimizers}
        for name, groups in wanted.items():
            assert found[name] == groups, record["case"]
            judged += 1
    assert judged > 150
