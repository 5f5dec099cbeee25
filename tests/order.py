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
    "checking/test_no_false_alarms.py": 10,
    "ci/test_action.py": 9,
    "ci/test_release.py": 8,
    "cli/test_check_stream.py": 9,
    "cli/test_ci_commands.py": 6,
    "cli/test_inspect.py": 5,
    "cli/test_leaving.py": 6,
    "containers/hdf5/test_structure.py": 6,
    "containers/torchfiles/test_fast.py": 6,
    "converting/test_convert_checkpoints.py": 27,
    "converting/test_convert_keras.py": 7,
    "diagnosis/test_advice.py": 8,
    "formats/test_contracts.py": 9,
    "fuzz/test_guided.py": 18,
    "fuzz/test_mutants.py": 8,
    "grafting/test_faults.py": 24,
    "grafting/test_nothing_is_lost.py": 12,
    "grafting/test_races.py": 10,
    "guard/test_keras.py": 18,
    "hostile/test_hostile.py": 106,
    "isolation/test_isolation.py": 13,
    "real/repairing/test_repair_real.py": 11,
    "real/repairing/test_repair_state.py": 16,
    "real/test_catalogue_real.py": 11,
    "real/test_differential.py": 7,
    "real/test_frozen_real.py": 5,
    "real/test_gan_real.py": 9,
    "real/test_graft_across.py": 15,
    "real/test_graft_configured.py": 22,
    "real/test_graft_keras.py": 67,
    "real/test_graft_matching.py": 6,
    "real/test_graft_starting.py": 7,
    "real/test_graft_tf.py": 27,
    "real/test_pages_real.py": 22,
    "real/test_schedules_real.py": 6,
    "real/test_verify.py": 36,
    "real/torch/test_dtypes.py": 8,
    "real/torch/test_graft_across.py": 8,
    "real/torch/test_graft_averages.py": 25,
    "real/torch/test_graft_baselines.py": 22,
    "real/torch/test_graft_deepspeed.py": 85,
    "real/torch/test_graft_distributed.py": 6,
    "real/torch/test_graft_files.py": 15,
    "real/torch/test_graft_pairs.py": 16,
    "real/torch/test_repair_torch.py": 5,
    "real/torch/test_strip_torch.py": 7,
    "real/trees/test_graft_across.py": 6,
    "real/trees/test_graft_chains.py": 10,
    "real/trees/test_graft_orbax.py": 22,
    "real/trees/test_verify_orbax.py": 12,
    "recipes/test_keras.py": 5,
    "repairing/test_killed.py": 8,
    "repairing/test_repair.py": 12,
    "repairing/test_strip.py": 9,
    "report/inspect/test_json.py": 10,
    "scanning/test_clusters.py": 11,
    "scanning/test_scan.py": 5,
    "storage/test_bucket.py": 12,
    "storage/test_hostile.py": 13,
    "storage/test_web.py": 9,
    "storage/test_writing.py": 16,
    "test_architecture.py": 6,
    "test_benchmarks.py": 6,
    "test_startup.py": 8,
    "verification/test_pytorch.py": 9,
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
