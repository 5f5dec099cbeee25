"""The house as docs/architecture.md draws it: which room may know which, how large files and folders get."""

from __future__ import annotations

import ast
import importlib
from collections.abc import Iterator
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parent.parent / "ckptdoctor"
GROUND = frozenset({"errors", "kinds", "logged", "methods", "references", "state", "storage", "words", "versions"})
KNOWS: dict[str, frozenset[str]] = {
    "errors": frozenset(),
    "logged": frozenset(),
    "methods": frozenset(),
    "references": frozenset({"methods", "words"}),
    "kinds": frozenset(),
    "state": frozenset({"kinds", "logged", "methods", "references"}),
    "storage": frozenset({"errors"}),
    "words": frozenset(),
    "workplace": GROUND | {"containers", "formats"},
    "versions": frozenset(),
    "declarations": GROUND,
    "containers": GROUND,
    "optimizers": GROUND | {"containers", "declarations"},
    "isolation": GROUND | {"declarations"},
    "formats": GROUND | {"containers", "optimizers", "declarations"},
    "diagnosis": GROUND | {"containers", "optimizers", "formats"},
    "matching": GROUND | {"containers", "optimizers", "formats"},
    "crossing": GROUND | {"containers", "optimizers", "matching"},
    "runs": GROUND | {"formats", "diagnosis"},
    "examination": GROUND | {"containers", "optimizers", "formats", "diagnosis", "isolation", "runs"},
    "checking": GROUND
    | {"containers", "optimizers", "formats", "diagnosis", "isolation", "runs", "examination", "declarations"},
    "scanning": GROUND | {"containers", "formats", "diagnosis", "isolation", "examination", "checking", "declarations"},
    "comparison": GROUND | {"containers", "optimizers", "formats", "diagnosis", "matching", "crossing", "examination"},
    "grafting": GROUND
    | {"workplace", "containers", "optimizers", "formats", "diagnosis", "matching", "crossing", "examination"},
    "timeline": GROUND | {"containers", "formats", "diagnosis", "isolation", "runs", "examination", "checking"},
    "recipes": GROUND | {"containers", "optimizers", "formats", "diagnosis", "examination"},
    "converting": GROUND | {"workplace", "containers", "optimizers", "formats", "examination", "grafting"},
    "repairing": GROUND | {"workplace", "containers", "optimizers", "formats", "diagnosis", "examination", "grafting"},
    "verification": GROUND | {"workplace", "containers", "optimizers", "formats", "diagnosis", "examination"},
    "guard": GROUND
    | {"containers", "optimizers", "formats", "diagnosis", "isolation", "matching", "examination", "verification"},
}
"""Room → the rooms that it may import. Above them: `report` knows results of every kind, `cli` and the API know all."""
ABOVE = frozenset({"report", "cli", "start", "__main__", ""})
MOST_LINES, MOST_FILES = 400, 20


def modules() -> Iterator[tuple[str, Path]]:
    """Every module of the package with its name, but what protoc made."""
    for path in sorted(PACKAGE.rglob("*.py")):
        if not path.stem.endswith("_pb2"):
            yield ".".join(path.relative_to(PACKAGE.parent).with_suffix("").parts).removesuffix(".__init__"), path


def room(module: str) -> str:
    """The first part of a module's name below the package; "" for the package itself."""
    return [*module.split("."), ""][1]


def imports(path: Path) -> Iterator[str]:
    """The modules of the package that a file imports, but for typing only; those within functions too."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    for node in _at_run_time(tree):
        if isinstance(node, ast.ImportFrom) and node.module and node.module.split(".")[0] == "ckptdoctor":
            yield from (
                [node.module] if node.module != "ckptdoctor" else [f"ckptdoctor.{each.name}" for each in node.names]
            )


def _at_run_time(tree: ast.AST) -> Iterator[ast.AST]:
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING":
            continue
        yield node
        yield from _at_run_time(node)


@pytest.mark.parametrize("name", sorted(KNOWS))
def test_nothing_imports_upward(name: str) -> None:
    """A room knows those below it, and `__version__` of the package."""
    wrong = [
        f"{module} imports {each}"
        for module, path in modules()
        if room(module) == name
        for each in imports(path)
        if room(each) not in KNOWS[name] | {name, "__version__"}
    ]
    assert not wrong


@pytest.mark.parametrize("name", ["diagnosis", "matching"])
def test_rules_ask_records_alone(name: str) -> None:
    """What judges states knows of formats what their records say, and nothing that reads or writes."""
    taken = {
        (node.module, each.name)
        for module, path in modules()
        if room(module) == name
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("ckptdoctor.formats")
        for each in node.names
    }
    assert taken
    assert taken <= {("ckptdoctor.formats.registry", each) for each in ("FORMATS", "endings", "record")}


def test_every_room_is_drawn() -> None:
    """A new room has to say what it knows."""
    assert {room(module) for module, _ in modules()} == set(KNOWS) | ABOVE


def test_methods_that_others_carry_out() -> None:
    """Each has its function, and pure data asks for no more than is listed."""
    from ckptdoctor.methods import CARRIED_OUT

    for place in CARRIED_OUT.values():
        module, _, name = place.partition(":")
        assert callable(getattr(importlib.import_module(module), name))
    asked = {
        (room(module), node.args[0].value)
        for module, path in modules()
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "carry_out"
        and isinstance(node.args[0], ast.Constant)
    }  # fmt: skip
    assert {name for _, name in asked} == set(CARRIED_OUT)
    assert {each for each, _ in asked} == {"references", "state", "examination"}


def test_no_framework_is_imported() -> None:
    """Only what runs in the child process of `verify` knows a framework; a guard asks for the one that is loaded."""
    frameworks = {"tensorflow", "keras", "tf_keras", "torch", "jax"}
    for module, path in modules():
        if module.startswith("ckptdoctor.verification.child"):
            continue
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            names = [each.name for each in node.names] if isinstance(node, ast.Import) else []
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            assert not frameworks & {each.split(".")[0] for each in names}, module


def test_annotations_of_named_tuples_are_not_texts() -> None:
    """`typing` compiles an annotation that is a text, field by field: a named tuple takes six times as long to make.

    With `from __future__ import annotations` all are: the eighty of a small `inspect` took a tenth of its start-up.
    """
    for module, path in modules():
        tree = ast.parse(path.read_text(encoding="utf-8"))
        tuples = [
            node
            for node in ast.walk(tree)
            if isinstance(node, ast.ClassDef) and "NamedTuple" in map(ast.unparse, node.bases)
        ]
        late = any(isinstance(node, ast.ImportFrom) and node.module == "__future__" for node in tree.body)
        assert not (tuples and late), module


def test_every_module_can_be_imported() -> None:
    """Annotations that are types are looked up then, which no type checker tries."""
    for module, _ in modules():
        if not module.startswith(("ckptdoctor.verification.child", "ckptdoctor.guard.")) and module[-8:] != "__main__":
            importlib.import_module(module)


def test_files_and_folders_are_small() -> None:
    """A file is read in one sitting, and the listing of a folder explains it."""
    files = [path for _, path in modules()] + sorted(Path(__file__).parent.rglob("*.py"))
    assert not [str(path) for path in files if path.read_text(encoding="utf-8").count("\n") > MOST_LINES]
    folders = {path.parent for path in files}
    assert not [str(each) for each in folders if len([*each.glob("*.py")]) > MOST_FILES]
