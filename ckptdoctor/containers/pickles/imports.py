"""What a pickle may name, and what that does: an argument of the machine, as each kind of file has its own."""

from __future__ import annotations

from ckptdoctor.containers.pickles import values
from ckptdoctor.containers.pickles.values import Global, Known, NotThese, Opaque
from ckptdoctor.containers.tensors.dtypes import ITEMSIZE

_ELEMENTS = frozenset(
    name for name in ITEMSIZE if name.startswith(("bfloat", "float8", "float4", "int4", "uint4", "int2", "uint2"))
)
"""The element types that ml_dtypes adds to numpy's."""


def _allowed() -> dict[tuple[str, str], Known]:
    table: dict[tuple[str, str], Known] = {
        ("numpy", "ndarray"): Known.NDARRAY,
        ("numpy", "dtype"): Known.DTYPE,
        ("_codecs", "encode"): Known.ENCODE,
        ("collections", "OrderedDict"): Known.ORDERED_DICT,
        ("collections", "defaultdict"): Known.DEFAULT_DICT,
        # Where EagerTensor.__reduce__ and jax.Array.__reduce__ put the array that they were.
        ("tensorflow.python.framework.ops", "convert_to_tensor"): Known.TENSOR,
        ("tensorflow.python.framework.tensor_conversion", "convert_to_tensor"): Known.TENSOR,
        ("jax._src.array", "_reconstruct_array"): Known.JAX_ARRAY,
        # ResourceVariable.__reduce__ is functools.partial(ResourceVariable, initial_value=array).
        ("functools", "partial"): Known.PARTIAL,
        ("tensorflow.python.ops.resource_variable_ops", "ResourceVariable"): Known.RESOURCE,
        ("tensorflow.python.framework.dtypes", "as_dtype"): Known.AS_DTYPE,
        ("keras.src.backend", "Variable"): Known.VARIABLE,
    }
    for backend in ("common.variables", "tensorflow.core", "jax.core", "numpy.core", "torch.core"):
        for name in ("Variable", "KerasVariable"):
            table[f"keras.src.backend.{backend}", name] = Known.VARIABLE
    # numpy 2 moved `core` to `_core`; each release writes its own name and reads both.
    for core in ("numpy.core", "numpy._core"):
        table[f"{core}.multiarray", "_reconstruct"] = Known.RECONSTRUCT
        table[f"{core}.multiarray", "scalar"] = Known.SCALAR
        table[f"{core}.numeric", "_frombuffer"] = Known.FROM_BUFFER
    # Python 2 and protocols below 3 say `__builtin__`.
    for builtins in ("builtins", "__builtin__"):
        for name in ("list", "tuple", "dict", "set", "frozenset", "bytes", "bytearray", "complex"):
            table[builtins, name] = Known[name.upper()]
        for name in ("int", "float", "bool", "str"):
            table[builtins, name] = Known.NUMBER
    for module in ("ml_dtypes", "ml_dtypes._custom_floats", "ml_dtypes._ml_dtypes_ext", "jaxlib.xla_extension"):
        for name in _ELEMENTS:
            table[module, name] = Known.ELEMENT
    return table


ALLOWED = _allowed()
"""Module and name → what it makes. Anything else is refused."""


class Imports:
    """Plain data and numpy arrays. Kinds of files whose pickles name more have a class below this one.

    Nothing here imports or calls what a pickle names: effects are our own code, on our own types.
    """

    def find(self, module: str, name: str) -> object | None:
        """What an import stands for; None where it is refused."""
        known = ALLOWED.get((module, name))
        return None if known is None else Global(known, name)

    def call(self, function: object, args: object) -> object:
        """What an import makes of its arguments (REDUCE, NEWOBJ, OBJ, INST).

        Raises:
            NotThese: It does not take such arguments.
        """
        return values.call(function, args)

    def build(self, made: object, state: object) -> None:
        """Gives an object its state (BUILD).

        Raises:
            NotThese: Such an object has no such state.
        """
        values.build(made, state)

    def persistent(self, reference: object) -> object:  # noqa: ARG002 - there is nothing that it could name
        """What a reference to something outside of the pickle stands for.

        Raises:
            NotThese: There is nothing outside.
        """
        raise NotThese("the pickle uses persistent references, which stand outside of it")


ARRAYS = Imports()


class Packages(Imports):
    """The same, and classes of some packages, which stay records of what they are made of.

    Args:
        names: The packages, by the first part of their names.
    """

    def __init__(self, *names: str) -> None:
        self._names = frozenset(names)

    def find(self, module: str, name: str) -> object | None:
        """What an import stands for: a class, if it is called like one."""
        found = super().find(module, name)
        if found is None and module.partition(".")[0] in self._names and name.isidentifier() and name[:1].isupper():
            return Opaque(f"{module}.{name}")
        return found

    def call(self, function: object, args: object) -> object:
        """A record of an object of such a class."""
        if isinstance(function, Opaque) and isinstance(args, tuple):
            return Opaque(function.name, args)
        return super().call(function, args)

    def build(self, made: object, state: object) -> None:
        """Keeps the state of such an object."""
        if isinstance(made, Opaque):
            made.state = state
        else:
            super().build(made, state)
