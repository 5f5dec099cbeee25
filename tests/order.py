"""The order of tests under pytest-xdist: what takes long begins first, in equal shares.

With `--dist worksteal` every worker begins with its share of the list, in order, and takes from the end of another's
once its own is done. A file that takes long so belongs to the beginning of a share: at the end nobody waits for it,
and its fixtures are made in one worker.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from itertools import groupby
from typing import Protocol, TypeVar

ROOT = "tests/"
SECONDS = {
    "checking/test_no_false_alarms.py": 14,
    "ci/test_action.py": 8,
    "ci/test_release.py": 9,
    "cli/test_check_stream.py": 7,
    "containers/hdf5/test_structure.py": 15,
    "converting/test_convert_checkpoints.py": 45,
    "converting/test_convert_keras.py": 8,
    "diagnosis/test_advice.py": 7,
    "formats/test_contracts.py": 9,
    "fuzz/test_guided.py": 24,
    "grafting/test_faults.py": 25,
    "grafting/test_nothing_is_lost.py": 16,
    "grafting/test_races.py": 13,
    "guard/test_keras.py": 25,
    "hostile/test_hostile.py": 75,
    "isolation/test_isolation.py": 20,
    "real/repairing/test_repair_real.py": 25,
    "real/repairing/test_repair_state.py": 35,
    "real/test_catalogue_real.py": 20,
    "real/test_frozen_real.py": 20,
    "real/test_gan_real.py": 10,
    "real/test_graft_across.py": 20,
    "real/test_graft_configured.py": 28,
    "real/test_graft_keras.py": 60,
    "real/test_graft_starting.py": 35,
    "real/test_graft_tf.py": 32,
    "real/test_pages_real.py": 15,
    "real/test_schedules_real.py": 20,
    "real/test_verify.py": 40,
    "real/test_warm_python.py": 8,
    "real/torch/test_dtypes.py": 25,
    "real/torch/test_graft_across.py": 28,
    "real/torch/test_graft_averages.py": 25,
    "real/torch/test_graft_baselines.py": 22,
    "real/torch/test_graft_deepspeed.py": 85,
    "real/torch/test_graft_distributed.py": 5,
    "real/torch/test_graft_files.py": 25,
    "real/torch/test_graft_pairs.py": 25,
    "real/trees/test_graft_across.py": 25,
    "real/trees/test_graft_chains.py": 25,
    "real/trees/test_graft_orbax.py": 40,
    "real/trees/test_verify_orbax.py": 20,
    "recipes/test_keras.py": 12,
    "repairing/test_repair.py": 13,
    "repairing/test_strip.py": 10,
    "report/inspect/test_json.py": 13,
    "scanning/test_clusters.py": 15,
    "storage/test_bucket.py": 25,
    "storage/test_hostile.py": 15,
    "storage/test_writing.py": 15,
    "test_startup.py": 9,
    "verification/test_pytorch.py": 12,
}
"""What files take on one core: those of five seconds and more, and roughly. `pytest --durations=0` tells."""


class Named(Protocol):
    """What pytest calls an item."""

    @property
    def nodeid(self) -> str:
        """FILE::TEST."""


Item = TypeVar("Item", bound=Named)


def in_shares(items: Iterable[Item], workers: int, seconds: Mapping[str, int] = SECONDS) -> list[Item]:
    """The tests, in one list of a share for each worker.

    Args:
        items: By file, as pytest has them.
        workers: How many there are.
        seconds: File below `tests` → how long it takes.
    """
    files = [(path, list(each)) for path, each in groupby(items, _file)]
    slow = sorted((each for each in files if each[0] in seconds), key=lambda each: -seconds[each[0]])
    shares: list[list[Item]] = [[] for _ in range(workers)]
    taken = [0] * workers
    for path, tests in slow:
        least = taken.index(min(taken))
        taken[least] += seconds[path]
        shares[least] += tests
    rest = [test for path, tests in files if path not in seconds for test in tests]
    total = len(rest) + sum(map(len, shares))
    for number in range(workers):  # as many tests each as xdist hands out
        size = total * (number + 1) // workers - total * number // workers
        missing = max(0, size - len(shares[number]))
        shares[number] += rest[:missing]
        del rest[:missing]
    return [test for share in shares for test in share] + rest


def _file(item: Named) -> str:
    return item.nodeid.partition("::")[0].removeprefix(ROOT)
