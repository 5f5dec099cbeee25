"""Every element type that torch.save writes: carried bit for bit wherever it stands and goes, or refused by name."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from support.commands import Result, ckptdoctor

torch = pytest.importorskip("torch", exc_type=ImportError)
dcp = pytest.importorskip("torch.distributed.checkpoint", exc_type=ImportError)

pytestmark = [pytest.mark.real, pytest.mark.filterwarnings("ignore")]

_ALL = {each for each in vars(torch).values() if isinstance(each, torch.dtype)}
_SAVED = [str(each)[6:] for each in _ALL if str(each)[6:].lstrip("u").removeprefix("int") not in set("1234567")]
_QUANTIZED = {"qint8", "quint8", "qint32", "quint4x2", "quint2x4"}
_SAMPLED = {"complex32", "float4_e2m1fn_x2", "float8_e8m0fnu", "bits16", "qint8", "quint4x2", "uint32"}
DTYPES = [each if each in _SAMPLED else pytest.param(each, marks=pytest.mark.nightly) for each in sorted(_SAVED)]


def _tensor(name: str) -> Any:
    dtype = getattr(torch, name)
    if name in {"quint4x2", "quint2x4"}:
        scales = torch.tensor([0.1, 0.2, 0.3])
        return torch.quantize_per_channel(torch.linspace(-1, 1, 24).reshape(3, 8), scales, torch.zeros(3), 0, dtype)
    if name in _QUANTIZED:
        return torch.quantize_per_tensor(torch.linspace(-1, 1, 12).reshape(3, 4), 0.1, 10, dtype)
    if name == "bool":
        return (torch.arange(12) % 2 == 0).reshape(3, 4)
    return torch.arange(12 * dtype.itemsize, dtype=torch.uint8).view(dtype).reshape(3, 4)


def _same(one: Any, other: Any) -> bool:
    if other.is_quantized and one.qscheme() == torch.per_tensor_affine:
        same_scale = one.q_scale() == other.q_scale() and one.q_zero_point() == other.q_zero_point()
        return bool(same_scale and torch.equal(one.int_repr(), other.int_repr()))
    bytes_of = [bytes(each.contiguous().untyped_storage().tolist()) for each in (one, other)]
    return bool((one.dtype, one.shape) == (other.dtype, other.shape) and bytes_of[0] == bytes_of[1])


@pytest.mark.parametrize("name", DTYPES)
def test_carried_or_named(tmp_path: Path, name: str) -> None:
    """As a weight of a target, as state of a donor, in a distributed checkpoint and back, and compared."""
    tensor = _tensor(name)
    model = torch.nn.Linear(3, 2)
    optimizer = torch.optim.Adam(model.parameters())
    model(torch.ones(1, 3)).sum().backward()
    optimizer.step()
    weights, state = {**model.state_dict(), "scale": tensor}, optimizer.state_dict()
    torch.save({"model": weights, "optimizer": state}, tmp_path / "whole.pt")
    torch.save({"model": weights}, tmp_path / "weights.pt")
    torch.save({"model": model.state_dict()}, tmp_path / "plain.pt")
    state["state"][0]["scale"] = tensor
    torch.save({"model": model.state_dict(), "optimizer": state}, tmp_path / "slot.pt")

    def run(*arguments: str, code: int = 0) -> Result:
        result = ckptdoctor(*arguments, cwd=tmp_path)
        assert result.code == code, (arguments, result.err)
        return result

    run("inspect", "whole.pt", "--stats")
    assert "equal" in run("diff", "whole.pt", "whole.pt", "--values", "--weights").out
    run("graft", "--from", "whole.pt", "--into", "weights.pt", "--output", "grafted.pt")
    run("strip", "whole.pt", "--output", "stripped.pt")
    for each in ("grafted.pt", "stripped.pt"):
        assert _same(torch.load(tmp_path / each, weights_only=True)["model"]["scale"], tensor), each
    if name in _QUANTIZED:
        assert name in run("graft", "--from", "slot.pt", "--into", "plain.pt", "--output", "out.pt", code=4).err
        assert name in run("convert", "whole.pt", "--output", "ranks", "--to", "torch-dcp", code=4).err
        return
    run("graft", "--from", "slot.pt", "--into", "plain.pt", "--output", "out.pt")
    found = torch.load(tmp_path / "out.pt", weights_only=True)["optimizer"]["state"][0]["scale"]
    assert _same(found, tensor)
    run("convert", "whole.pt", "--output", "ranks", "--to", "torch-dcp")
    run("convert", "ranks", "--output", "back.pt")
    assert _same(torch.load(tmp_path / "back.pt", weights_only=True)["model"]["scale"], tensor)
    loaded = {"model": {"scale": torch.zeros(12 * tensor.itemsize, dtype=torch.uint8).view(tensor.dtype).reshape(3, 4)}}
    dcp.load(loaded, checkpoint_id=tmp_path / "ranks")
    assert _same(loaded["model"]["scale"], tensor)
