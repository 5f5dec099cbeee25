"""Arrangements of objects in no known order: what they agree on is told, and nothing else."""

from __future__ import annotations

from ckptdoctor.optimizers.lists.layout import Trained
from ckptdoctor.optimizers.lists.loose import Loose, LooseLink, arrange

KERNEL, BIAS, SCALE = (3, 3), (3,), ()


def model(*objects: tuple[str, tuple[tuple[int, ...], ...], tuple[LooseLink, ...]]) -> tuple[list[Trained], Loose]:
    """Variables of objects, each with its shapes and the links above it."""
    candidates = [Trained(f"{name}/{at}", shape) for name, shapes, _ in objects for at, shape in enumerate(shapes)]
    links = {name: above for name, _, above in objects}
    return candidates, {each.path: links[each.path.split("/")[0]] for each in candidates}


def test_objects_go_where_the_shapes_want_them() -> None:
    """Siblings of different shapes are told apart, however they were written."""
    candidates, loose = model(
        ("a", (BIAS,), (LooseLink(1, 0),)),
        ("b", (SCALE,), (LooseLink(1, 1),)),
        ("c", (KERNEL, BIAS), (LooseLink(1, 2),)),
    )
    assert arrange([KERNEL, BIAS, SCALE, BIAS], candidates, loose) == (2, 3, 1, 0)
    assert arrange([BIAS, KERNEL, SCALE, BIAS], candidates, loose) is None


def test_siblings_of_equal_shapes_are_not_told_apart() -> None:
    """What could be exchanged is nobody's; what stands beside it is told all the same."""
    twins = ("a", (KERNEL, BIAS), (LooseLink(1, 0),)), ("b", (KERNEL, BIAS), (LooseLink(1, 1),))
    candidates, loose = model(*twins, ("c", (SCALE,), (LooseLink(1, 2),)), ("after", (KERNEL,), ()))
    shapes = [SCALE, KERNEL, BIAS, KERNEL, BIAS, KERNEL]
    assert arrange(shapes, candidates, loose) == (4, None, None, None, None, 5)


def test_numbered_siblings_keep_their_order() -> None:
    """`dense` comes before `dense_1`, wherever other siblings go between them."""
    candidates, loose = model(
        ("dense", (KERNEL,), (LooseLink(1, 0, "dense"),)),
        ("dense_1", (KERNEL,), (LooseLink(1, 1, "dense"),)),
        ("norm", (BIAS,), (LooseLink(1, 2, "norm"),)),
    )
    assert arrange([KERNEL, BIAS, KERNEL], candidates, loose) == (0, 2, 1)


def test_what_is_left_out_are_the_last_weights_of_an_object() -> None:
    """A layer stores what it trains first: of three equal weights and two slots, the third has none."""
    candidates, loose = model(("a", (BIAS, BIAS, SCALE, BIAS), ()), ("b", (BIAS, BIAS, SCALE, BIAS), ()))
    assert arrange([BIAS, BIAS, SCALE, BIAS, BIAS, SCALE], candidates, loose) == (0, 1, 2, 4, 5, 6)


def test_many_siblings_end() -> None:
    """Hundreds of siblings of which many arrangements are possible are given up, not tried one by one."""
    candidates, loose = model(*((f"o{at}", (BIAS,) * (at % 7 + 1), (LooseLink(1, at),)) for at in range(300)))
    assert arrange([BIAS] * len(candidates), candidates, loose) is None
