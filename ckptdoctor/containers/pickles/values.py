"""What a pickle may build: containers, numbers, strings and numpy arrays.

Nothing here imports or calls what a pickle names. A global is looked up in `imports.ALLOWED`; what it would do to its
arguments is done by our own code, on our own types. They are no dataclasses, which take longer to define than a small
file takes to read.
"""

from __future__ import annotations

import struct
from enum import Enum, auto
from typing import Literal, TypeAlias

from ckptdoctor.containers.tensors.dtypes import ITEMSIZE
from ckptdoctor.errors import UnreadableArtifact

Coding: TypeAlias = Literal["raw", "utf-8", "raw-unicode-escape"]


class ForbiddenImport(UnreadableArtifact):
    """A pickle names something other than arrays: whoever loads it would run that.

    Args:
        name: The import, as `module.name`.
        path: The file.
        place: Where the import is named.
    """

    code = "X003"

    def __init__(self, name: str, path: str, *, place: str) -> None:
        shown = name if name.isprintable() else ascii(name)
        super().__init__(
            f"the pickle imports {shown}, and loading it would run that; "
            "only plain data and numpy arrays are read, and nothing was run",
            path,
            place=place,
        )
        self.name = name


class NotThese(Exception):
    """Arguments that the allowed import they are given to does not take."""


class Known(Enum):
    """The imports that are understood, by what they make."""

    RECONSTRUCT = auto()
    SCALAR = auto()
    FROM_BUFFER = auto()
    NDARRAY = auto()
    DTYPE = auto()
    ELEMENT = auto()
    """An ml_dtypes element type: stands for its dtype, is never called."""
    ENCODE = auto()
    ORDERED_DICT = auto()
    DEFAULT_DICT = auto()
    LIST = auto()
    TUPLE = auto()
    DICT = auto()
    SET = auto()
    FROZENSET = auto()
    BYTES = auto()
    BYTEARRAY = auto()
    COMPLEX = auto()
    NUMBER = auto()
    """int, float, bool, str: only as the factory of a defaultdict."""
    TENSOR = auto()
    """TensorFlow's way back from an array to an EagerTensor: the array."""
    JAX_ARRAY = auto()
    VARIABLE = auto()
    """A Keras 3 variable: stands for its value."""
    PARTIAL = auto()
    """functools.partial, understood around a TensorFlow variable and nothing else."""
    AS_DTYPE = auto()
    """TensorFlow's name of an element type, beside a value that has its own: the name."""
    RESOURCE = auto()
    """A TensorFlow variable's class: is never called."""


class Global:
    """An allowed import."""

    __slots__ = ("known", "name")

    def __init__(self, known: Known, name: str) -> None:
        self.known, self.name = known, name


class Stretch:
    """Bytes or text of the pickle that stay in the file: `nbytes` at `offset`, coded; `text` says which they are."""

    __slots__ = ("coding", "nbytes", "offset", "text")

    def __init__(self, offset: int, nbytes: int, coding: Coding = "raw", *, text: bool = False) -> None:
        self.offset, self.nbytes, self.coding, self.text = offset, nbytes, coding, text


class Dtype:
    """An element type.

    Attributes:
        name: numpy's or ml_dtypes' name, `object`, `string`, or `unknown(…)`.
        itemsize: Bytes an element; 0 where that is not known.
        big_endian: As its BUILD says.
    """

    __slots__ = ("big_endian", "itemsize", "name")

    def __init__(self, name: str, itemsize: int, big_endian: bool = False) -> None:  # noqa: FBT001, FBT002 - as numpy's
        self.name, self.itemsize, self.big_endian = name, itemsize, big_endian


class Array:
    """A numpy array, or scalar, before its place in the structure is known."""

    __slots__ = ("data", "dtype", "fortran", "scalar", "shape")

    def __init__(
        self,
        shape: tuple[int, ...] = (),
        dtype: Dtype | None = None,
        data: object = None,
        *,
        fortran: bool = False,
        scalar: bool = False,
    ) -> None:
        self.shape, self.dtype, self.data, self.fortran, self.scalar = shape, dtype, data, fortran, scalar


class Pairs:
    """A dict as a list of its items: what a file chooses as keys is not hashed while it is read."""

    __slots__ = ("items",)

    def __init__(self, items: list[tuple[object, object]] | None = None) -> None:
        self.items = [] if items is None else items


class Bag:
    """A set or frozenset, as a list."""

    __slots__ = ("items",)

    def __init__(self, items: list[object] | None = None) -> None:
        self.items = [] if items is None else items


class Opaque:
    """An object of a class that nobody here knows: what its pickle gives it, and nothing that it would do.

    Attributes:
        name: Its class, `module.name`; of a method, its own name behind it.
        args: What it was made of.
        state: What BUILD gave it.
        items: Keys and values that were set in it.
        members: What was appended to it.
    """

    __slots__ = ("args", "items", "members", "name", "state")

    def __init__(self, name: str, args: tuple[object, ...] = ()) -> None:
        self.name, self.args = name, args
        self.state: object = None
        self.items: list[tuple[object, object]] = []
        self.members: list[object] = []


class Held:
    """A variable of a framework: nothing but the value that it holds."""

    __slots__ = ("value",)

    def __init__(self) -> None:
        self.value: object = None


_CODES = {
    "f2": "float16", "f4": "float32", "f8": "float64", "i1": "int8", "i2": "int16", "i4": "int32", "i8": "int64",
    "u1": "uint8", "u2": "uint16", "u4": "uint32", "u8": "uint64", "b1": "bool", "c8": "complex64",
    "c16": "complex128", "?": "bool",
}  # fmt: skip
"""Kind and size, as numpy writes element types into pickles and headers."""


def element_type(code: str) -> Dtype:
    """The element type that numpy's code (`<f4`, `|b1`, `O`, `U5`) stands for."""
    order, bare = (code[0], code[1:]) if code[:1] in {"<", ">", "|", "="} else ("", code)
    big = order == ">"
    if bare in _CODES:
        name = _CODES[bare]
        return Dtype(name, ITEMSIZE[name], big)
    kind, digits = bare[:1], bare[1:]
    size = int(digits) if digits.isascii() and digits.isdigit() and len(digits) < 10 else 0
    if kind == "O":
        return Dtype("object", 0)
    if kind in {"S", "a", "U"}:
        return Dtype("string", size * (4 if kind == "U" else 1), big)
    if bare == "V2":
        # What np.save makes of bfloat16, and what Keras writes of it into HDF5.
        return Dtype("bfloat16", 2, big)
    return Dtype(f"unknown({bare[:16]})", size if kind == "V" else 8 if kind in {"M", "m"} else 0, big)


def shape_of(value: object) -> tuple[int, ...]:
    """A shape, checked to be one."""
    extents = tuple(value) if isinstance(value, (tuple, list)) else (value,)
    for extent in extents:
        if extent.__class__ is not int or not 0 <= extent < 1 << 62:
            raise NotThese(f"an array has the extent {str(extent)[:32]!r}")
    if len(extents) > 64:
        raise NotThese(f"an array claims {len(extents)} dimensions")
    return extents


def call(function: object, args: object) -> object:
    """What an allowed import makes of its arguments (the opcodes REDUCE, NEWOBJ, OBJ and INST).

    Raises:
        NotThese: It does not take such arguments.
    """
    if isinstance(function, Held) and args == ():
        return function  # the partial around a TensorFlow variable: making the variable gives its value
    if not isinstance(function, Global) or not isinstance(args, tuple):
        raise NotThese("something is called that is no import")
    made: object
    match function.known, args:
        case Known.RECONSTRUCT, (Global(known=Known.NDARRAY), *_):
            made = Array()
        case Known.SCALAR, (Dtype(name="object"), value):
            made = value
        case Known.SCALAR, (Dtype() as dtype, data):
            made = Array((), _copy(dtype), data, scalar=True)
        case Known.FROM_BUFFER, (data, Dtype() as dtype, shape, order):
            made = Array(shape_of(shape), _copy(dtype), data, fortran=order == "F")
        case Known.DTYPE, (code, *_):
            made = _dtype(code)
        case Known.ENCODE, (text, "latin1" | "latin-1"):
            made = _latin1(text)
        case Known.JAX_ARRAY, (Global(known=Known.RECONSTRUCT) as reconstruct, tuple() as inner, state, *_):
            made = call(reconstruct, inner)
            build(made, state)
        case Known.TENSOR, (value, *_):
            made = value
        case Known.AS_DTYPE, (str() as name,):
            made = name
        case (Known.VARIABLE, ()) | (Known.PARTIAL, (Global(known=Known.RESOURCE),)):
            made = Held()
        case _:
            made = _container(function, args)
    return made


def _container(function: Global, args: tuple[object, ...]) -> object:
    """Constructors of Python's own containers, as protocols before 4 write them."""
    made: object
    match function.known, args:
        case ((Known.ORDERED_DICT | Known.DICT), ()):
            made = Pairs()
        case ((Known.ORDERED_DICT | Known.DICT), (list() as items,)):
            made = Pairs([(pair[0], pair[1]) for pair in map(_pair, items)])
        case Known.DEFAULT_DICT, () | (None | Global(),):
            made = Pairs()
        case ((Known.SET | Known.FROZENSET), ()):
            made = Bag()
        case ((Known.SET | Known.FROZENSET), (list() | tuple() as items,)):
            made = Bag(list(items))
        case Known.LIST, (list() | tuple() as items,):
            made = list(items)
        case Known.TUPLE, (list() | tuple() as items,):
            made = tuple(items)
        case Known.LIST, ():
            made = []
        case Known.TUPLE, ():
            made = ()
        case ((Known.BYTES | Known.BYTEARRAY), ()):
            made = b""
        case ((Known.BYTES | Known.BYTEARRAY), (bytes() | Stretch(text=False) as data,)):
            made = data
        case Known.BYTEARRAY, (text, "latin-1" | "latin1"):
            made = _latin1(text)
        case Known.COMPLEX, (float() | int() as real, float() | int() as imaginary):
            made = complex(real, imaginary)
        case _:
            raise NotThese(f"{function.name} is given arguments that it does not take")
    return made


def _pair(value: object) -> tuple[object, ...] | list[object]:
    if isinstance(value, (tuple, list)) and len(value) == 2:
        return value
    raise NotThese("a dict is made of something other than pairs")


def _copy(dtype: Dtype) -> Dtype:
    """Arrays share their dtype object; a later BUILD of it must not change what was checked."""
    return Dtype(dtype.name, dtype.itemsize, dtype.big_endian)


def _dtype(code: object) -> Dtype:
    if isinstance(code, Global) and code.known is Known.ELEMENT:
        return Dtype(code.name, ITEMSIZE[code.name])
    if isinstance(code, str):
        return element_type(code)
    raise NotThese("numpy.dtype is given something other than a type code")


def _latin1(text: object) -> object:
    """Bytes that protocols 0 to 2 wrote as text of the code points 0 to 255."""
    if isinstance(text, Stretch):
        return Stretch(text.offset, text.nbytes, text.coding)
    if isinstance(text, str):
        try:
            return text.encode("latin-1")
        except UnicodeEncodeError as error:
            raise NotThese("text that should stand for bytes is none") from error
    raise NotThese("_codecs.encode is given something other than text")


def build(made: object, state: object) -> None:
    """Gives an object its state (the opcode BUILD): the contents of an array, the byte order of a dtype.

    Raises:
        NotThese: Such an object has no such state.
    """
    match made, state:
        case Array(), (int(), shape, Dtype() as dtype, fortran, data) | (shape, Dtype() as dtype, fortran, data):
            made.shape, made.dtype, made.data = shape_of(shape), _copy(dtype), data
            made.fortran = fortran is True or fortran == 1
        case Dtype(), (int(), str() as order, subarray, names, _, int() as itemsize, *_):
            made.big_endian = order == ">"
            if subarray is not None or names is not None:
                made.name, made.itemsize = "unknown(structured)", max(itemsize, 0)
        case Held(), (Global(known=Known.RESOURCE), (), Pairs(items=items), *_):
            made.value = dict(_named(items)).get("initial_value")
        case Held(), Pairs(items=items):
            made.value = dict(_named(items)).get("_value")
        case ((Pairs() | Bag()), None | Pairs(items=[])):
            pass
        case _:
            raise NotThese(f"BUILD gives state to {_noun(made)} that it cannot have")


def _named(items: list[tuple[object, object]]) -> list[tuple[str, object]]:
    return [(name, value) for name, value in items if isinstance(name, str)]


def _noun(value: object) -> str:
    names = {Array: "an array", Dtype: "a dtype", Pairs: "a dict", Bag: "a set", Global: "an import"}
    return names.get(type(value), "an object")


def float8(data: bytes) -> float:
    """The number of BINFLOAT."""
    number: float = struct.unpack(">d", data)[0]
    return number
