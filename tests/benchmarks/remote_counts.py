"""What `ckptdoctor inspect` asks a server for: requests and bytes, counted by the server.

    python tests/benchmarks/remote_counts.py [--only NAME] [--json FILE]

A web server on this machine answers ranges. How long it takes says nothing of a bucket's; how much is asked for does.
"""

from __future__ import annotations

import argparse
import json
import mmap
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from processes import ROOT, made, table

sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

from support.remote.servers import Web  # noqa: E402 - after the path

CASES = (
    ("small TF checkpoint", "inputs.py", "small", 3),
    ("90,000 tensors, TF checkpoint", "inputs.py", "many_objects", None),
    ("400 MB .keras, 11 layers", "inputs.py", "large_archive", 25),
    ("whole model in HDF5, 50 layers", "inputs.py", "whole_h5", None),
    ("small file of torch.save", "torch_inputs.py", "small_torch", 3),
    ("395 MB file of torch.save, 60 layers", "torch_inputs.py", "torch_395_mb", 5),
    ("2 GB file of torch.save", "torch_inputs.py", "torch_2_gb", 5),
)
"""Name, who makes it, its function, and the requests that are aimed at."""


def count(name: str, path: str) -> dict[str, Any]:
    """Serves what lies beside a path, and has it inspected."""
    with Web() as web:
        folder = Path(path).parent
        for each in sorted(folder.iterdir()):
            with open(each, "rb") as file:
                web.files[f"/{each.name}"] = mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ)  # type: ignore[assignment]
        url = f"{web.url}/{os.path.basename(path)}"
        command = [sys.executable, "-m", "ckptdoctor", "inspect", "--format", "json", url]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL, env={**os.environ, "PYTHONPATH": str(ROOT)})
        served = 0
        for asked in web.asked:
            whole = len(web.files.get(asked.path, b""))
            first, _, last = asked.headers.get("range", "").removeprefix("bytes=").partition("-")
            served += min(int(last), whole - 1) - int(first) + 1 if last and whole else whole
    size = sum(each.stat().st_size for each in folder.iterdir() if each.name.startswith(os.path.basename(path)))
    return {"name": name, "size": size, "requests": len(web.asked), "bytes": served}


HEAD = ["input", "size", "requests", "bytes read", "aimed at"]


def row(each: dict[str, Any]) -> list[str]:
    """A row of the table."""
    goal = next((most for name, _, _, most in CASES if name == each["name"]), None)
    aimed = "" if goal is None else f"{goal} requests"
    return [
        each["name"], f"{each['size'] / 1e6:,.1f} MB", f"{each['requests']:,}", f"{each['bytes'] / 1e6:,.2f} MB", aimed,
    ]  # fmt: skip


def main() -> None:
    """Counts, and prints a table in Markdown."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", default="", help="inputs whose name contains this")
    parser.add_argument("--json", help="write the figures here too")
    options = parser.parse_args()
    found = []
    for name, script, function, _ in CASES:
        if options.only in name:
            with tempfile.TemporaryDirectory(prefix="ckptdoctor-") as folder:
                found.append(count(name, made(script, function, folder)))
            sys.stderr.write(" | ".join(row(found[-1])) + "\n")
    if options.json:
        Path(options.json).write_text(json.dumps(found, indent=2) + "\n", encoding="utf-8")
    sys.stdout.write(table([HEAD, *map(row, found)]))


if __name__ == "__main__":
    main()
