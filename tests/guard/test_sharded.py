"""Guards where other processes hold parts of the state: what can be told here is compared, and nothing is made up."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ckptdoctor.errors import NotResumed
from ckptdoctor.guard import assert_resumed

torch: Any = pytest.importorskip("torch", exc_type=ImportError)

pytestmark = pytest.mark.filterwarnings("ignore")


@pytest.fixture
def mesh(tmp_path: Path) -> Iterator[Any]:
    """One process that shards with itself."""
    distributed = pytest.importorskip("torch.distributed")
    if not distributed.is_available() or not hasattr(pytest.importorskip("torch.distributed.fsdp"), "fully_shard"):
        pytest.skip("this torch does not shard")
    distributed.init_process_group("gloo", init_method=f"file://{tmp_path}/meeting", rank=0, world_size=1)
    try:
        yield distributed.device_mesh.init_device_mesh("cpu", (1,))
    finally:
        distributed.destroy_process_group()


def test_sharded(mesh: Any, tmp_path: Path) -> None:
    """Of FSDP's parts the count and the rate are compared: a new optimizer is found, a restored one passes."""
    dcp: Any = pytest.importorskip("torch.distributed.checkpoint")
    from torch.distributed.checkpoint.state_dict import get_state_dict, set_state_dict

    def program() -> tuple[Any, Any]:
        model = torch.nn.Sequential(torch.nn.Linear(3, 3), torch.nn.Linear(3, 3))
        torch.distributed.fsdp.fully_shard(model, mesh=mesh)
        return model, torch.optim.Adam(model.parameters(), lr=0.01)

    def state_of(model: Any, optimizer: Any) -> dict[str, Any]:
        weights, moments = get_state_dict(model, optimizer)
        return {"model": weights, "optimizer": moments}

    model, optimizer = program()
    for _ in range(3):
        model(torch.ones(2, 3)).sum().backward()
        optimizer.step()
    dcp.save(state_of(model, optimizer), checkpoint_id=tmp_path / "dcp")
    model, optimizer = program()
    with pytest.raises(NotResumed, match="Adam has taken no step here, and 3 there"):
        assert_resumed(optimizer, tmp_path / "dcp", model=model)
    state = state_of(model, optimizer)
    dcp.load(state, checkpoint_id=tmp_path / "dcp")
    set_state_dict(model, optimizer, model_state_dict=state["model"], optim_state_dict=state["optimizer"])
    assert assert_resumed(optimizer, tmp_path / "dcp", model=model)[1:] == ((3,), 0)
