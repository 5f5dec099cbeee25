"""Lists of arrays that somebody dumped: pickle, npy, npz."""

from ckptdoctor.formats.contract import ArtifactFormat, Reader
from ckptdoctor.state import Format

FORMATS = (
    ArtifactFormat(
        Format.OPTIMIZER_DUMP,
        recipe="dump",
        restored_by="it holds no model. Put it into one: ckptdoctor graft --from PATH --into MODEL --output OUT",
        title="dump of optimizer variables",
        called="a dump of arrays",
        rename_to=".pkl, .npy or .npz, as what it is",
        endings=dict.fromkeys((".npz", ".npy", ".pkl", ".pickle"), "arrays"),
        holds="bare-list",
        write="ckptdoctor.formats.dumps.writing:write_dump",
        check="ckptdoctor.formats.dumps.writing:check",
        verify="dump",
        unstrippable="it is an optimizer's state alone: without that nothing would be left",
        absent_hint="dump optimizer.variables (before Keras 2.11: optimizer.get_weights()) as well",
    ),
)
READERS = (Reader("optimizer-dump", "ckptdoctor.formats.dumps.reading:read", (Format.OPTIMIZER_DUMP,)),)
