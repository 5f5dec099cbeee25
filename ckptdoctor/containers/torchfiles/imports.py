"""What pickles of torch.save name: tensors and their storages, and any class at all, which stays an inert record.

Sources: torch/_utils.py (`_rebuild_*`), torch/serialization.py (`persistent_id`), torch/storage.py; measured with torch
1.0 to 2.15.
"""

from collections.abc import Callable
from typing import NamedTuple, TypeAlias

from ckptdoctor.containers.pickles.imports import Imports
from ckptdoctor.containers.pickles.values import Global, NotThese, Opaque, Pairs, shape_of

STORAGES = {
    "FloatStorage": "float32", "DoubleStorage": "float64", "HalfStorage": "float16", "BFloat16Storage": "bfloat16",
    "LongStorage": "int64", "IntStorage": "int32", "ShortStorage": "int16", "CharStorage": "int8",
    "ByteStorage": "uint8", "BoolStorage": "bool", "ComplexFloatStorage": "complex64",
    "ComplexDoubleStorage": "complex128", "QInt8Storage": "qint8", "QUInt8Storage": "quint8",
    "QInt32Storage": "qint32", "QUInt4x2Storage": "quint4x2", "QUInt2x4Storage": "quint2x4",
    "UntypedStorage": "", "_UntypedStorage": "",
}  # fmt: skip
"""Storage class → element type; "" for bytes whose type each tensor tells."""
DTYPES = {
    "float": "float32", "double": "float64", "half": "float16", "long": "int64", "int": "int32", "short": "int16",
    **{name: name for name in (
        "float32", "float64", "float16", "bfloat16", "int64", "int32", "int16", "int8", "uint8", "uint16", "uint32",
        "uint64", "bool", "complex64", "complex128", "qint8", "quint8", "qint32", "float8_e4m3fn", "float8_e5m2",
        "float8_e4m3fnuz", "float8_e5m2fnuz", "float8_e8m0fnu", "float4_e2m1fn_x2", "complex32", "quint4x2", "quint2x4",
        "bits8", "bits16", "bits1x8", "bits2x4", "bits4x2",
    )},
}  # fmt: skip
"""torch's names of element types → numpy's or ml_dtypes'."""
PACKED = frozenset({"quint4x2", "quint2x4"})
"""Types of which a byte has several elements: their type and shape are known, and no bytes of their own."""
UNRESOLVED = "lazily conjugated or negated"
"""The kind of a tensor whose bytes are not its values."""
MAX_NAMES = 1000
"""Different names that are remembered."""
MAX_LOCATION = 64
"""Characters of a device that are kept."""


class Storage:
    """A stretch of elements outside of the pickle.

    Attributes:
        key: Its name: a member of the archive, or a number in a stream.
        dtype: Its element type; "" for bytes.
        numel: Elements, or bytes.
        location: The device it was on: `cpu`, `cuda:0`.
    """

    __slots__ = ("dtype", "key", "location", "numel")

    def __init__(self, key: str, dtype: str, numel: int, location: str = "cpu") -> None:
        self.key, self.dtype, self.numel, self.location = key, dtype, numel, location


class Tensor:
    """A view of a storage; without one, what is known of its type and shape.

    Attributes:
        storage: Where its elements are; None where they are elsewhere, or nowhere (`meta`).
        dtype: Its element type.
        shape: Its dimensions.
        offset: Its first element in the storage.
        strides: Elements between neighbours, a number a dimension; None for C order.
        kind: Tensor subclass or layout, where it is no plain one.
        parts: What such a one is made of.
        parameter: It is an nn.Parameter.
    """

    __slots__ = ("dtype", "kind", "offset", "parameter", "parts", "shape", "storage", "strides")

    def __init__(
        self,
        storage: Storage | None,
        dtype: str,
        shape: tuple[int, ...],
        offset: int = 0,
        strides: tuple[int, ...] | None = None,
        kind: str = "",
        parts: dict[str, object] | None = None,
    ) -> None:
        self.storage, self.dtype, self.shape, self.offset, self.strides = storage, dtype, shape, offset, strides
        self.kind, self.parts, self.parameter = kind, {} if parts is None else parts, False


class Name(NamedTuple):
    """An import of torch, or of a class that nobody here knows."""

    module: str
    name: str

    @property
    def full(self) -> str:
        """`module.name`."""
        return f"{self.module}.{self.name}"


class Dtype(NamedTuple):
    """`torch.float32`."""

    name: str


class TorchImports(Imports):
    """Everything that a file of torch.save may name, and what it has named.

    Attributes:
        names: Every name that is no part of arrays and plain containers, once.
        called: Those of them that something was made of.
        arrays: Names of numpy.
    """

    def __init__(self) -> None:
        self.names: dict[Name, None] = {}
        self.called: dict[Name, None] = {}
        self.arrays: dict[str, None] = {}

    def find(self, module: str, name: str) -> object | None:
        """A global; every name is known, and none is imported."""
        if module == "torch" and name in DTYPES:
            return Dtype(DTYPES[name])
        plain = super().find(module, name)
        if plain is not None:
            if module.partition(".")[0] == "numpy":
                self.arrays.setdefault(f"{module}.{name}")
            return plain
        found = Name(module, name)
        if found not in self.names and len(self.names) < MAX_NAMES:
            self.names[found] = None
        return found

    def call(self, function: object, args: object) -> object:
        """What a name makes of its arguments: a tensor, or a record of the call."""
        if not isinstance(function, Name):
            if isinstance(function, Opaque):
                return Opaque(function.name, args if isinstance(args, tuple) else ())
            if isinstance(function, Dtype) or (function is None):
                raise NotThese("something is called that is no import")
            return self._plain(function, args)
        if not isinstance(args, tuple):
            raise NotThese(f"{function.full[:100]} is given something other than arguments")
        rebuild = REBUILDS.get(function)
        if rebuild is None and function.module.startswith("torch."):
            rebuild = _BY_NAME.get(function.name)
        if rebuild is not None:
            made = rebuild(self, args)
            if made is not None:
                return made
            raise NotThese(f"{function.name} is given arguments that it does not take")
        if len(self.called) < MAX_NAMES:
            self.called[function] = None
        return Opaque(function.full, args)

    def _plain(self, function: object, args: object) -> object:
        """What arrays and containers are made of; where they are subclassed or given odd arguments, a record."""
        try:
            return super().call(function, args)
        except NotThese:
            if isinstance(function, Global) and isinstance(args, tuple):
                return Opaque(function.name, args)
            raise

    def build(self, made: object, state: object) -> None:
        """State of an object; an attribute of an OrderedDict (`_metadata` of a state_dict) says nothing of training."""
        if isinstance(made, Opaque):
            made.state = state
        elif isinstance(made, Pairs):
            if not isinstance(state, (Pairs, tuple, type(None))):
                raise NotThese("a dict is given state that it cannot have")
        elif isinstance(made, Tensor):
            if isinstance(state, Pairs):
                made.parts.update({name: each for name, each in state.items if isinstance(name, str)})
        elif isinstance(made, (Name, Dtype, Storage)):
            raise NotThese("BUILD gives state to an import that it cannot have")
        else:
            super().build(made, state)

    def persistent(self, reference: object) -> object:
        """A storage: `("storage", class, key, location, numel)`, in streams with a view behind it."""
        if isinstance(reference, str):
            raise NotThese("a storage is named by text alone")
        match reference:
            case ("storage", storage_class, key, location, int() as numel, *rest) if not isinstance(numel, bool):
                dtype = storage_type(storage_class)
                if dtype is None or not isinstance(key, (str, int)) or not 0 <= numel < 1 << 62:
                    raise NotThese("a storage is described by something that none has")
                storage = self.storage(Storage(str(key), dtype, numel, _device(location)))
                return _viewed(storage, rest[0]) if rest and isinstance(rest[0], tuple) else storage
            case ("module", Name() as name, *_):
                return name  # of a whole model in a stream; its source text is not looked at
            case _:
                raise NotThese("a persistent reference is none to a storage")

    def storage(self, found: Storage) -> Storage:
        """Told of each storage that is named."""
        return found


def storage_type(storage_class: object) -> str | None:
    """The element type of a class of storages; None of what is none."""
    if isinstance(storage_class, Name) and storage_class.module.partition(".")[0] == "torch":
        return STORAGES.get(storage_class.name)
    return None


def _device(location: object) -> str:
    return location[:MAX_LOCATION] if isinstance(location, str) else ""


def _viewed(storage: Storage, view: tuple[object, ...]) -> object:
    """A storage that is a part of another one: `(key of the view, first element, elements)`."""
    match view:
        case (_, int() as offset, int() as size) if offset >= 0 and size >= 0 and offset + size <= storage.numel:
            return View(storage, offset, size)
        case _:
            raise NotThese("a view of a storage lies outside of it")


class View(NamedTuple):
    """Elements of a storage, from `offset` on."""

    storage: Storage
    offset: int
    size: int


# -------------------------------------------------------------------------------------------------------- rebuilding


def _integer(value: object) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value < 1 << 62:
        raise NotThese("a tensor's place in its storage is no number")
    return value


def _shape(value: object) -> tuple[int, ...]:
    if isinstance(value, Opaque) and value.name == "torch.Size" and len(value.args) == 1:
        value = value.args[0]
    if not isinstance(value, (tuple, list)):
        raise NotThese("a tensor's shape is no tuple")
    return shape_of(value)


def _tensor(storage: object, offset: object, size: object, stride: object, dtype: str | None = None) -> Tensor:
    """A tensor in a storage."""
    first = _integer(offset)
    if isinstance(storage, View):
        first += storage.offset
        storage = storage.storage
    if not isinstance(storage, Storage):
        raise NotThese("a tensor is made of something other than a storage")
    shape, strides = _shape(size), _shape(stride)
    if len(shape) != len(strides):
        raise NotThese("a tensor has another number of strides than of dimensions")
    return Tensor(storage, dtype or storage.dtype or "uint8", shape, first, strides)


def _v2(_: TorchImports, args: tuple[object, ...]) -> object | None:
    if len(args) < 4:
        return None
    made = _tensor(args[0], args[1], args[2], args[3])
    for each in args[4:]:  # `{"conj": True}`: the bytes are unresolved
        if isinstance(each, Pairs) and any(flag in {"conj", "neg"} and on is True for flag, on in each.items):
            made.kind = UNRESOLVED
    return made


def _v3(_: TorchImports, args: tuple[object, ...]) -> object | None:
    match args:
        case (storage, offset, size, stride, _, _, Dtype(name=name), *_):
            return _tensor(storage, offset, size, stride, name)
        case _:
            return None


def _parameter(_: TorchImports, args: tuple[object, ...]) -> object | None:
    if args and isinstance(args[0], Tensor):
        args[0].parameter = True
        return args[0]
    return args[0] if args else None


def _quantized(_: TorchImports, args: tuple[object, ...]) -> object | None:
    if len(args) < 5:
        return None
    made = _tensor(args[0], args[1], args[2], args[3])
    made.kind = "quantized"
    return made


def _sparse(_: TorchImports, args: tuple[object, ...]) -> object | None:
    """`(layout, (indices, values, size, …))`; compressed layouts have two index tensors before the values."""
    if len(args) < 2 or not isinstance(args[1], tuple) or len(args[1]) < 3:
        return None
    tensors = [each for each in args[1] if isinstance(each, Tensor)]
    sizes = [each for each in args[1] if isinstance(each, (tuple, list, Opaque))]
    if not tensors or not sizes:
        return None
    parts: dict[str, object] = {f"part_{number}": each for number, each in enumerate(tensors)}
    return Tensor(None, tensors[-1].dtype, _shape(sizes[0]), kind="sparse", parts=parts)


def _meta(_: TorchImports, args: tuple[object, ...]) -> object | None:
    match args:
        case (Dtype(name=name), size, *_):
            return Tensor(None, name, _shape(size), kind="meta")
        case _:
            return None


def _nested(_: TorchImports, args: tuple[object, ...]) -> object | None:
    match args:
        case (Tensor() as buffer, *rest):
            parts: dict[str, object] = {"buffer": buffer}
            parts |= {f"part_{number}": each for number, each in enumerate(rest)}
            return Tensor(buffer.storage, buffer.dtype, buffer.shape, buffer.offset, buffer.strides, "nested", parts)
        case _:
            return None


def _from_type(imports: TorchImports, args: tuple[object, ...]) -> object | None:
    """`_rebuild_from_type_v2(function, class, arguments, state)`: a subclass of Tensor."""
    match args:
        case (function, Name() as subclass, tuple() as inner, *rest):
            made = imports.call(function, inner)
            if isinstance(made, Tensor) and subclass.full != "torch.nn.parameter.Parameter":
                made.kind = made.kind or subclass.full
            if rest and rest[0] is not None:
                imports.build(made, rest[0])
            return made
        case _:
            return None


def _wrapper(_: TorchImports, args: tuple[object, ...]) -> object | None:
    """`_rebuild_wrapper_subclass(class, dtype, size, strides, …)`: its tensors are in the state that follows."""
    match args:
        case (Name() as subclass, Dtype(name=name), size, *_):
            return Tensor(None, name, _shape(size), kind=subclass.full)
        case _:
            return None


def _from_array(_: TorchImports, args: tuple[object, ...]) -> object | None:
    """`_rebuild_device_tensor_from_numpy(array, dtype, device, requires_grad)`: XLA's and HPU's."""
    return args[0] if args else None


def _size(_: TorchImports, args: tuple[object, ...]) -> object | None:
    return _shape(args[0]) if len(args) == 1 else () if not args else None


def _layout(_: TorchImports, args: tuple[object, ...]) -> object | None:
    return args[0] if args else None


Rebuild: TypeAlias = Callable[[TorchImports, "tuple[object, ...]"], "object | None"]
_BY_NAME: dict[str, Rebuild] = {
    "_rebuild_tensor": _v2,
    "_rebuild_tensor_v2": _v2,
    "_rebuild_tensor_v3": _v3,
    "_rebuild_parameter": _parameter,
    "_rebuild_parameter_with_state": _parameter,
    "_rebuild_qtensor": _quantized,
    "_rebuild_sparse_tensor": _sparse,
    "_rebuild_sparse_csr_tensor": _sparse,
    "_rebuild_meta_tensor_no_storage": _meta,
    "_rebuild_nested_tensor": _nested,
    "_rebuild_from_type": _from_type,
    "_rebuild_from_type_v2": _from_type,
    "_rebuild_wrapper_subclass": _wrapper,
    "_rebuild_device_tensor_from_numpy": _from_array,
    "_rebuild_device_tensor_from_cpu_tensor": _from_array,
    "_rebuild_xla_tensor": _from_array,
    "_get_layout": _layout,
}
"""torch._utils' and torch._tensor's functions, which have moved between modules of torch."""
REBUILDS: dict[Name, Rebuild] = {Name("torch", "Size"): _size}
