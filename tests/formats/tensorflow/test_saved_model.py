"""SavedModel directories: which parts there are, and what they say together."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
from support.bundles import array, write_bundle, zeros
from support.objects import Node, keras2, keras3, legacy, model, variables
from support.saved_models import saved_model, write_saved_model

from ckptdoctor.containers.protos import checkpoint_pb2 as pb
from ckptdoctor.diagnosis import rules
from ckptdoctor.diagnosis.evidence import Evidence
from ckptdoctor.diagnosis.status import artifact_status
from ckptdoctor.errors import UnreadableArtifact
from ckptdoctor.formats.tensorflow import saved_model as reader
from ckptdoctor.state import Format, Generation, Status

ADAM = {"class_name": "Adam", "config": {"name": "Adam", "learning_rate": 0.01, "amsgrad": False}}


def _net(optimizer: Node | None = None) -> Node:
    net = model()
    net.children["optimizer"] = optimizer or legacy(variables(net))
    return net


@pytest.mark.parametrize("flat", [False, True])
def test_a_keras_model(tmp_path: Path, *, flat: bool) -> None:
    """Class and settings come from the configuration, state from the variables, also in a flattened copy."""
    state = reader.read(write_saved_model(tmp_path / "export", _net(), config=ADAM, flat=flat))
    (optimizer,) = state.optimizers
    assert state.format is Format.SAVED_MODEL
    assert (optimizer.class_name, optimizer.class_inferred, optimizer.iterations) == ("Adam", False, 7)
    assert optimizer.hyperparameters["amsgrad"] is False
    assert {slot.variable for slot in optimizer.slots} == {each.path for each in state.variables}
    assert artifact_status(state) is Status.COMPLETE


@pytest.mark.parametrize(
    ("keras_version", "framework"), [("2.10.0", "tf.keras"), ("2.15.0", "tf.keras"), ("2.16.0", "tf_keras")]
)
def test_producers(tmp_path: Path, keras_version: str, framework: str) -> None:
    """Who wrote it follows from Keras' version; without Keras' metadata, from TensorFlow's."""
    with_metadata = write_saved_model(tmp_path / "a", _net(), config=ADAM, keras_version=keras_version)
    assert reader.read(with_metadata).producer == (framework, keras_version)
    without = write_saved_model(tmp_path / "b", _net(), version="2.6.5")
    assert reader.read(without).producer == ("tensorflow", "2.6.5")


def test_without_metadata(tmp_path: Path) -> None:
    """tf.saved_model.save leaves no configuration: the class is inferred, the state is there."""
    state = reader.read(write_saved_model(tmp_path / "export", _net()))
    assert (state.optimizers[0].class_name, state.optimizers[0].class_inferred) == ("Adam", True)
    assert artifact_status(state) is Status.COMPLETE


def test_metadata_in_the_object_graph(tmp_path: Path) -> None:
    """TensorFlow 2.0 to 2.4 kept Keras' metadata in saved_model.pb itself."""
    path = write_saved_model(tmp_path / "export", _net())
    graph = pb.SavedObjectGraph()
    graph.nodes.add().user_object.metadata = (
        '{"keras_version": "2.3.0-tf", "training_config": {"optimizer_config": {"class_name": "Adam", "config": '
        '{"learning_rate": 0.25, "amsgrad": false}}}}'
    )
    Path(path, "saved_model.pb").write_bytes(saved_model(graph, version="2.3.4"))
    (optimizer,) = reader.read(path).optimizers
    assert (optimizer.class_name, optimizer.class_inferred) == ("Adam", False)


@pytest.mark.parametrize(("build", "generation"), [(keras2, Generation.KERAS2), (keras3, Generation.KERAS3)])
def test_generations(tmp_path: Path, build: Any, generation: Generation) -> None:
    """The rewritten optimizers lie in a SavedModel as they do in a checkpoint."""
    net = model()
    net.children["optimizer"] = build(variables(net))
    (optimizer,) = reader.read(write_saved_model(tmp_path / "export", net)).optimizers
    assert (optimizer.generation, optimizer.iterations, len(optimizer.slots)) == (generation, 7, 8)


def test_trainable_flags(tmp_path: Path) -> None:
    """saved_model.pb records which variables are trained: those that are not are missing nothing."""
    net = model({"bn/gamma": (2,), "bn/moving_mean": (2,)})
    net.children["optimizer"] = legacy(variables(net)[:1])
    state = reader.read(write_saved_model(tmp_path / "export", net, config=ADAM))
    assert {each.path: each.trainable for each in state.variables} == {"bn/gamma": True, "bn/moving_mean": False}
    assert artifact_status(state) is Status.COMPLETE


def test_configured_without_state(tmp_path: Path) -> None:
    """A configuration without any state: the optimizer is known, and absent."""
    state = reader.read(write_saved_model(tmp_path / "export", model(), config=ADAM))
    (optimizer,) = state.optimizers
    assert (optimizer.class_name, optimizer.iterations) == ("Adam", None)
    assert artifact_status(state) is Status.ABSENT


def test_a_keras_3_export(tmp_path: Path) -> None:
    """model.export() holds every weight twice and no optimizer, and the finding says why."""
    net = model()
    net.children["_all_variables"] = Node({"0": variables(model())[0]})
    state = reader.read(write_saved_model(tmp_path / "export", net, version="2.21.0"))
    assert len(state.variables) == 4
    assert artifact_status(state) is Status.ABSENT
    assert any(
        "model.export(), which never holds an optimizer" in each.message for each in rules.judge(Evidence("p", state))
    )


def test_of_tensorflow_1(tmp_path: Path) -> None:
    """A SavedModelBuilder's variables are name-based; a lone global step in an export is no training state."""
    path = tmp_path / "export"
    tensors = {"w": zeros((2, 2)), "global_step": array(7, "int64")}
    write_bundle(path / "variables" / "variables", tensors)
    (path / "saved_model.pb").write_bytes(saved_model(None, version="1.15.5"))
    state = reader.read(str(path))
    assert (state.producer, state.optimizers) == (("tensorflow", "1.15.5"), ())
    write_bundle(path / "variables" / "variables", tensors | {"w/Momentum": zeros((2, 2))})
    assert [each.class_name for each in reader.read(str(path)).optimizers] == ["SGD"]


# ---------------------------------------------------------------------------------------------------------- what breaks


def test_missing_variables(tmp_path: Path) -> None:
    """A SavedModel whose variables are gone is an error that says how many; one without any is fine."""
    path = write_saved_model(tmp_path / "export", _net())
    os.unlink(f"{path}/variables/variables.index")
    with pytest.raises(UnreadableArtifact, match=r"variables/variables\.index is missing, which should hold \d+ var"):
        reader.read(path)
    Path(path, "saved_model.pb").write_bytes(saved_model(None))
    assert reader.read(path).variables == ()


def test_a_missing_shard(tmp_path: Path) -> None:
    """A data file that is missing is named."""
    path = write_saved_model(tmp_path / "export", _net())
    os.unlink(f"{path}/variables/variables.data-00000-of-00001")
    with pytest.raises(UnreadableArtifact, match=r"variables\.data-00000-of-00001 is missing: \d+ tensors"):
        reader.read(path)


def test_a_broken_marker(tmp_path: Path) -> None:
    """Where saved_model.pb is broken, the way to the variables that may be whole is told."""
    path = write_saved_model(tmp_path / "export", _net())
    Path(path, "saved_model.pb").write_bytes(b"\xff" * 40)
    with pytest.raises(UnreadableArtifact, match=r"its variables may still be readable: inspect .*variables/variables"):
        reader.read(path)


def test_a_text_marker(tmp_path: Path) -> None:
    """A SavedModel in text form is not read, and says so."""
    path = write_saved_model(tmp_path / "export", _net())
    os.rename(f"{path}/saved_model.pb", f"{path}/saved_model.pbtxt")
    with pytest.raises(UnreadableArtifact, match=r"saved_model\.pbtxt is not read"):
        reader.read(path)


@pytest.mark.parametrize("content", ["{", "[" * 60_000, "nonsense"])
def test_metadata_that_is_no_json(tmp_path: Path, content: str) -> None:
    """Metadata that is no JSON, or nested beyond reason, is an error that names the model."""
    path = write_saved_model(tmp_path / "export", _net())
    metadata = pb.KerasMetadata()
    metadata.nodes.add(node_path="root", metadata=content)
    Path(path, "keras_metadata.pb").write_bytes(metadata.SerializeToString())
    with pytest.raises(UnreadableArtifact, match=r"the model.s metadata: is (not )?JSON"):
        reader.read(path)


@pytest.mark.parametrize(
    "content",
    ["[]", "7", "null", "{}", '{"training_config": 7}', '{"training_config": {"optimizer_config": []}}',
     '{"training_config": {"optimizer_config": {"class_name": 7}}}', '{"keras_version": 7}',
     '{"training_config": {"optimizer_config": {"class_name": "Adam", "config": 7}}}'],
)  # fmt: skip
def test_metadata_of_another_kind(tmp_path: Path, content: str) -> None:
    """Metadata that says nothing of an optimizer leaves the state as it is."""
    path = write_saved_model(tmp_path / "export", _net())
    metadata = pb.KerasMetadata()
    metadata.nodes.add(node_path="root", metadata=content)
    Path(path, "keras_metadata.pb").write_bytes(metadata.SerializeToString())
    (optimizer,) = reader.read(path).optimizers
    assert (optimizer.iterations, len(optimizer.slots)) == (7, 8)


@pytest.mark.parametrize("version", ["2.²", "2." + "9" * 5000, "²", "9" * 5000, "2.10.0.rc", ".."])
def test_versions_that_are_none(tmp_path: Path, version: str) -> None:
    """What stands in the version's place is shown as it is, and compared as if it were none."""
    state = reader.read(write_saved_model(tmp_path / "export", _net(), config=ADAM, keras_version=version))
    assert state.producer.version == version
