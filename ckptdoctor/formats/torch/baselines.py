"""stable-baselines3's zip archives: `policy.pth`, an archive of torch.save a network and a optimizer, and `data`.

Source: stable_baselines3/common/save_util.py (`save_to_zip_file`). The members are stored, not packed.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from ckptdoctor.containers.bytes.files import RegularFile
from ckptdoctor.containers.strict_json import parse_object
from ckptdoctor.containers.tensors.values import kept_open
from ckptdoctor.containers.torchfiles.archive import load_archive
from ckptdoctor.containers.torchfiles.reading import Loaded
from ckptdoctor.containers.torchfiles.stream import load_stream
from ckptdoctor.containers.zips.archive import ZipArchive
from ckptdoctor.errors import UnreadableArtifact
from ckptdoctor.formats.beginnings import is_stream
from ckptdoctor.formats.torch.assembly import assemble
from ckptdoctor.formats.torch.contents import Contents, add
from ckptdoctor.formats.torch.safety import noticed
from ckptdoctor.state import Format, Oddity, Producer, TrainingState

MARK = "_stable_baselines3_version"
_MAX_DATA = 64 << 20
_HEAD = 64


def read(path: str) -> TrainingState:
    """Reads an archive.

    Raises:
        UnreadableArtifact: It is none, or broken, or its members are packed.
    """
    found = Contents()
    oddities: list[Oddity] = []
    for name, loaded in members(path):
        oddities += noticed(loaded, name)
        add(loaded.root, name, found)
    with ZipArchive(path) as archive:
        oddities += archive.oddities
        version = archive.read(MARK, 100).decode("utf-8", "replace").strip()[:40]
        data = parse_object(archive.read("data", _MAX_DATA), path, "data") if "data" in archive else {}
    for name in ("num_timesteps", "_n_updates"):
        value = data.get(name)
        if isinstance(value, int) and not isinstance(value, bool):
            found.counters[name.lstrip("_")] = value
    with kept_open():
        return assemble(path, Format.STABLE_BASELINES3, Producer("stable-baselines3", version), found, oddities)


_FOUND_BY = {
    "PPO": {"clip_range", "n_epochs", "gae_lambda"}, "TD3": {"policy_delay", "target_policy_noise"},
    "SAC": {"target_entropy", "ent_coef"}, "DQN": {"exploration_fraction", "target_update_interval"},
    "A2C": {"gae_lambda", "normalize_advantage", "rollout_buffer_class"},
}  # fmt: skip
"""The algorithms of stable-baselines3 by settings that they alone have, the first that has all. DDPG is a TD3."""
_OWN, _POLICIES = "stable_baselines3", "policies"


def algorithm(path: str) -> tuple[str, str] | None:
    """The package and the class of the algorithm that saved an archive; None where the settings tell none.

    The archive does not name it. The module of its policy does, where the algorithm has one of its own.

    Raises:
        UnreadableArtifact: It is broken.
    """
    with ZipArchive(path) as archive:
        data = parse_object(archive.read("data", _MAX_DATA), path, "data") if "data" in archive else {}
    policy = data.get("policy_class")
    module = policy.get("__module__") if isinstance(policy, Mapping) else None
    parts = module.split(".") if isinstance(module, str) else []
    if parts[:1] != [_OWN] or parts[-1:] != [_POLICIES]:
        return None
    return next(((_OWN, name) for name, fields in _FOUND_BY.items() if fields <= data.keys()), None)


def members(path: str) -> Iterator[tuple[str, Loaded]]:
    """The files of torch.save in an archive, in its order.

    Raises:
        UnreadableArtifact: It is none, or broken, or its members are packed.
    """
    with ZipArchive(path) as archive:
        if MARK not in archive:
            raise UnreadableArtifact(f"holds no {MARK}: it is no archive of stable-baselines3", path)
        for name in archive.names:
            if not name.endswith(".pth") or not archive.size(name):
                continue
            if not archive.is_stored(name):
                raise UnreadableArtifact("is packed in the archive, where its tensors cannot be read", path, place=name)
            yield name, _member(path, archive, name)


def _member(path: str, archive: ZipArchive, name: str) -> Loaded:
    """A file of torch.save in the archive, in either of its containers."""
    start, size = archive.offset(name), archive.size(name)
    with RegularFile(path) as file:
        if is_stream(file.read(start, min(size, _HEAD))):  # torch before 1.6
            return load_stream(path, file, start, size)
    with archive.open(name) as member:
        return load_archive(path, ZipArchive(path, member), start)
