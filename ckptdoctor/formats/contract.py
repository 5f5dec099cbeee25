"""What a format says of itself, as plain data: the rest of the package asks a record and names no format.

Functions are named by text, `package.module:function`, and imported by the first that needs them.
"""

from collections.abc import Mapping
from typing import Literal, NamedTuple, TypeAlias

from ckptdoctor.state import Format, Generation, ModelVariable, Oddity

Holding: TypeAlias = Literal["linked", "named", "named-list", "list", "bare-list", "none"]
"""How slots find their variables: linked to them as objects; by their own names; in the optimizer's list, whose members
have names, or have none and lie beside the variables, or are all that there is; not at all, as there are none."""


class ArtifactFormat(NamedTuple):
    """One format.

    Attributes:
        id: What JSON calls it.
        title: What reports call it.
        called: What its bytes are, in a sentence.
        rename_to: What a name should end in, in a sentence.
        noun: What one of them is.
        endings: Endings that promise it → what they promise.
        ending: What the name of a new one ends in; "" for any.
        required: Endings that loaders insist on; none if they look at the bytes.
        is_prefix: What users name is a prefix, of which an ending stays a part.
        ending_as: Function (target): the ending that a copy of this target has to have; None for any.
        holds: How it holds optimizer state.
        configuration: Whether it has one of the optimizer; `required` decides what state loaders take.
        config_form: How classes are written in it: by name beside the configuration, or as an object of their own.
        generations: The only generations of optimizers whose state it can hold; none if it is not limited.
        adds_optimizers: A new optimizer may stand beside those that it has, under an attribute's name.
        isolated: HDF5's library reads it, which crashes on some corrupt files.
        metadata: Its files in which code may be that a framework runs, beyond what readers tell.
        program: Function (state): the generation of its own framework's optimizers, where its structure tells that.
        bundle: Function (path): prefix of the checkpoint that holds its variables; None if there is none.
        tables: Function (path): its files that are tables with checksums of their own.
        write: Function that writes an optimizer into it: (optimizer, target, output), and of `write_options` by name.
        write_options: Some of `link`, `loss_from`, `progress`.
        check: Function (optimizer, target) that raises what `write` would.
        create: Function that writes a new one: (state, where it is, output), and `progress`, `like` by name.
        created_from: Format that `create` takes; what is of another becomes one of that first. None: it takes several.
        created_bare: What `create` writes has no optimizer yet, and a graft puts that in.
        unwritable: Why nothing can be written into it, where that is so.
        found_by: Function (output): sentences about what else has to name a new one.
        verify: What the child process calls it; None if no framework loads an optimizer from it.
        recipe: What writes the script that restores one, as `recipes` calls it; None if no script does.
        restored_by: What restores it where no script does, as a sentence.
        unverifiable: Why none is asked to load it, where one does.
        refill: Function (values, target, output, progress) that writes a copy in which tensors have other values, and
            answers all of them: what is stored twice is exchanged twice.
        groups: How many groups of parameters its program makes, where that is always as many; 0 elsewhere.
        schedules: The class of its program's schedules, where that reckons each rate by the count alone; "" elsewhere.
        strip: Function (target, output, progress) that writes a copy without optimizer state.
        unstrippable: Why none can be, where that is so.
        stripped_as: What a copy without optimizer state is, where that is another format.
        summed: Each of its tensors has a checksum, by which `repair` tells what is whole.
        mended: `repair` exchanges entries of its optimizers: rates, indices, averages.
        release_hint: How a model is saved without its optimizer.
        absent_hint: What to do where no optimizer is in it; `{graft}` stands for a command into a `.keras`,
            `{graft here}` for one into this artifact. The usual graft if "".
        export_hint: The same for one that was exported to be served.
    """

    id: Format
    title: str
    called: str
    rename_to: str
    noun: str = "file"
    endings: Mapping[str, str] = {}
    ending: str = ""
    required: tuple[str, ...] = ()
    is_prefix: bool = False
    ending_as: str | None = None
    holds: Holding = "none"
    configuration: Literal["none", "optional", "required"] = "none"
    config_form: Literal["legacy", "object"] = "legacy"
    generations: tuple[Generation, ...] = ()
    adds_optimizers: bool = False
    isolated: bool = False
    metadata: tuple[str, ...] = ()
    program: str | None = None
    bundle: str | None = None
    tables: str | None = None
    write: str | None = None
    write_options: tuple[str, ...] = ()
    check: str | None = None
    create: str | None = None
    created_from: Format | None = None
    created_bare: bool = False
    unwritable: str = ""
    found_by: str | None = None
    verify: str | None = None
    recipe: str | None = None
    restored_by: str = ""
    unverifiable: str = ""
    refill: str | None = None
    groups: int = 0
    schedules: str = ""
    strip: str | None = None
    unstrippable: str = ""
    stripped_as: Format | None = None
    summed: bool = False
    mended: bool = False
    release_hint: str = ""
    absent_hint: str = ""
    export_hint: str = ""

    def takes(self, generation: Generation) -> bool:
        """Whether it can hold the state of optimizers of a generation."""
        return not self.generations or generation in self.generations

    @property
    def is_numbered(self) -> bool:
        """Whether its state is a list that goes by place: nothing in it names a variable."""
        return self.holds in {"list", "bare-list"}

    @property
    def is_nameless(self) -> bool:
        """Whether it is such a list without a class: what fits goes from one to the other, whatever it is called."""
        return self.is_numbered and self.configuration == "none"


class Reader(NamedTuple):
    """What reads artifacts.

    Attributes:
        id: Its name.
        read: Function (path): what the artifact holds.
        alone: Function (path, variables): the same of an optimizer without a model, whose variables these are; None
            where optimizers are not saved alone, or name what is theirs.
        formats: What it finds; the bytes tell which.
        claims: Function (given, path, names): the artifact that a directory is; None if it is none.
        latest: The same of a directory of several: the one that training would resume from.
        points: Function (path, names): what its framework itself would resume from; None if it says nothing here.
    """

    id: str
    read: str
    formats: tuple[Format, ...]
    claims: str | None = None
    latest: str | None = None
    alone: str | None = None
    points: str | None = None


class Target(NamedTuple):
    """One artifact to read.

    Attributes:
        path: What the user gave, or what was found below it.
        resolved: The file, directory or prefix that is read.
        reader: Name of its reader.
        oddities: What was noticed on the way.
        weights: The variables of the model that an optimizer saved alone belongs to, where the user names it.
    """

    path: str
    resolved: str
    reader: str
    oddities: tuple[Oddity, ...] = ()
    weights: tuple[ModelVariable, ...] = ()


class Pointer(NamedTuple):
    """What a framework itself takes for the latest of a run.

    Attributes:
        by: What says so: a file, a call.
        name: The checkpoint's name.
    """

    by: str
    name: str


class Written(NamedTuple):
    """The result of writing an artifact with another's optimizer state.

    Attributes:
        notes: A sentence each: first the call that restores the state, then what that call will not do.
        bytes_new: Bytes of optimizer state and of what describes it.
        bytes_copied: Bytes of the target that were copied unchanged.
        bytes_linked: Bytes that the result shares with an input (hard links).
        called: What the result calls the optimizer, where that is new in it; "" for the plan's name.
        pairs: Path of a model variable of the source → key of the same in what was made anew, where both call them
            differently, or the source has more.
    """

    notes: tuple[str, ...] = ()
    bytes_new: int = 0
    bytes_copied: int = 0
    bytes_linked: int = 0
    called: str = ""
    pairs: Mapping[str, str] = {}


class Stripped(NamedTuple):
    """The result of writing an artifact without its optimizer state.

    Attributes:
        gone: What is not in it any more, by the artifact's own names.
        notes: A sentence each: how it is loaded, and what the user should know.
    """

    gone: tuple[str, ...]
    notes: tuple[str, ...] = ()
