"""The text of docs/benchmarks.md, between the tables."""

from __future__ import annotations

HEAD = """\
# Benchmarks

Made by one command, from a clone with the test extra installed (`pip install ".[test]"`):

```
python tests/benchmarks/page.py
```

Every figure is of a whole process, from its start to its end, as a user waits for it. Each input is given to ckptdoctor
and to all of its peers in turn, round after round, so that a busy machine slows all of them alike: what counts is the
ratio, ours over theirs. It is that of the fastest runs; beside it stands from which to which it went within the rounds.
Processor time is what the kernel says that a process has used, on all cores: another program beside it changes that
less than what the clock says. Peaks of memory are of the process alone, ours before the peer's.
"""

PEERS = """\
## Beside other tools

None of these says whether training will resume; they list what is in the file. `ckptdoctor inspect --format json` says
both.
"""

FLOOR = """\
## Distance from the floor

What no program of this kind can be faster than: the interpreter's own start, the import of the library that reads the
format, a copy of the same bytes from one place of the page cache to another. The last input is judged with
`check --deep`, which checksums every byte and looks at every value.
"""

CHECK = """\
## Check

A thousand small artifacts of the formats and versions of `fixtures/museum.tar.xz` in one call, which shares them out
among the processors, beside a process for each; and every byte of 1 GB of trained weights and moments, beside one numpy
pass over the same bytes (`tests/benchmarks/check_speed.py`).
"""

GRAFT = """\
## Graft

A model of dense layers of 4096 x 4096 and its Adam state; the scripts are those that people write: build the model,
restore both checkpoints, save; or load both files and save. A graft is read back and on the disk when it ends, `cp` is
not.
"""

REMOTE = """\
## URLs

Requests that `ckptdoctor inspect` makes, and the bytes that come, counted by a web server
(`tests/benchmarks/remote_counts.py`). HDF5 has a header beside each array: there are as many places to read as there
are parameters. Those are fetched sixteen at a time.
"""

FLEET = """\
## Fleets

`ckptdoctor scan` of small artifacts by two workers (`tests/benchmarks/fleet_speed.py`); clusters of Dask and Ray start
within the time.
"""

MISSED = """\
## Goals that are missed, and why

The package has no compiled extension. What is done once for each tensor is Python, where a peer may be C++ or Rust; a
tenth of a second, the start, is in every figure.
"""
WHY = (
    ("what", "aimed at", "where the time goes"),
    (
        "90,000 tensors by name",
        "1/10",
        "2 µs a tensor for its entry in the index, 4 µs to tell slots from variables and to judge them",
    ),
    (
        "90,000 tensors by object",
        "1/6",
        "twice that, and 4 µs for a node of the object graph, which the peer does not look at",
    ),
    (
        "a million tensors by object",
        "500 MB",
        "names, keys and places of each are objects of Python, and of the graph's nodes",
    ),
    ("30,000 arrays of flax", "1/4", "the peer is C; two fifths are the document, the rest tells whose each array is"),
    (
        "grafts of HDF5 and `.keras`",
        "1.3 of `cp && sync`",
        "a quarter of a second until both processes are loaded; of `.keras` every byte is summed up as well",
    ),
    ("`--deep` of HDF5, 1 GB", "2 of isfinite", "a fifth of it is the start and the import of numpy"),
)

SCALE = """\
## Growth

Inputs of three sizes each; `grew` is how many times the row above. Growth is linear where processor time grows no
faster than the size; a start of 0.1 s (0.2 s with HDF5) is in every figure, so that the first step grows less. Tensor
data are holes in sparse files, which are read as zeros. `--check` fails where one of these grows faster than its input.
"""

FLAT = """\
### Memory is flat in tensors' bytes

Without `--stats` and `--deep` no tensor data but single numbers are read; with them, data pass through in pieces.
"""

LIMITS = """\
## Limits

An artifact above one of these is never reported as clean: the message names the limit (a single artifact cannot be
read, exit code 3; in a directory, I007). They keep a hostile file from taking the machine down, and lie far above what
frameworks write.
"""


MISSING = "Not measured in this run.\n"
