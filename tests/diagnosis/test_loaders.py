"""What `--loader` takes, and which loader is the producer's own."""

from __future__ import annotations

import pytest

from ckptdoctor.diagnosis.loaders import Loader, own_loader, parse_loader
from ckptdoctor.errors import UsageProblem
from ckptdoctor.state import Format, Generation, OptimizerState, Producer, TrainingState


@pytest.mark.parametrize(
    ("text", "loader", "line", "version", "whose"),
    [
        ("keras==3.15", Loader("keras", "3.15"), "keras", "3.15", "Keras 3.15's"),
        (" keras == 3.15.1 ", Loader("keras", "3.15.1"), "keras", "3.15.1", "Keras 3.15.1's"),
        ("keras=3.0", Loader("keras", "3.0"), "keras", "3.0", "Keras 3.0's"),
        ("Keras==3.*", Loader("keras", "3"), "keras", "3", "Keras 3's"),
        ("keras==2.3.1", Loader("keras", "2.3.1"), "standalone-keras", "2.3.1", "Keras 2.3.1's"),
        ("keras==2.10", Loader("keras", "2.10"), "tf.keras", "2.10", "Keras 2.10's"),
        ("tf_keras==2.21", Loader("tf_keras", "2.21"), "tf.keras", "2.21", "tf_keras 2.21's"),
        ("tf-keras==2.16.0rc0", Loader("tf_keras", "2.16.0rc0"), "tf.keras", "2.16.0rc0", "tf_keras 2.16.0rc0's"),
        ("tensorflow==2.10", Loader("tensorflow", "2.10"), "tf.keras", "2.10", "TensorFlow 2.10's"),
        ("tensorflow-cpu==2.15.1", Loader("tensorflow", "2.15.1"), "tf.keras", "2.15.1", "TensorFlow 2.15.1's"),
        ("tensorflow==2.16", Loader("tensorflow", "2.16"), "keras", "", "TensorFlow 2.16's Keras 3"),
        ("torch==2.15", Loader("torch", "2.15"), "torch", "2.15", "PyTorch 2.15's"),
        ("pytorch-lightning==1.9.5", Loader("lightning", "1.9.5"), "lightning", "1.9.5", "Lightning 1.9.5's"),
        ("transformers==5.24", Loader("transformers", "5.24"), "transformers", "5.24", "transformers 5.24's"),
    ],
)
def test_loaders(text: str, loader: Loader, line: str, version: str, whose: str) -> None:
    """A package and its version are one version of a line of code; TensorFlow since 2.16 is some Keras 3."""
    found = parse_loader(text)
    assert found == loader
    assert (found.line, found.line_version, found.whose) == (line, version, whose)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "no loader: name a package and its version, keras==3.15"),
        ("==3", "no loader"),
        ("kears==3.15", "did you mean keras?"),
        ("tfkeras==2.21", "did you mean tf_keras?"),
        ("tensorrt==2.9", "'tensorrt' is no loader that is known"),
        ("torch==3.1", "there is no torch 3.1 that is known: its major versions are 0 to 2"),
        ("keras", "what keras restores depends on its version"),
        ("keras>=3", "is a range: name the one version that loads"),
        ("keras==three", "'three' is no version of keras"),
        ("keras==7.0", "there is no keras 7.0 that is known: its major versions are 1 to 3"),
        ("tf_keras==3.1", "there is no tf_keras 3.1 that is known: its major versions are 2"),
        ("x" * 5000, "is no loader"),
        ("keras==" + "9" * 5000, "is no version of keras"),
    ],
)
def test_nonsense(text: str, says: str) -> None:
    """What is no loader is refused in one sentence that names what is near or possible."""
    with pytest.raises(UsageProblem, match=r".") as caught:
        parse_loader(text)
    assert says in str(caught.value)
    assert len(str(caught.value)) < 300


def _state(framework: str | None, version: str | None, generation: Generation | None) -> TrainingState:
    held = OptimizerState("optimizer", "Adam", generation, iterations=7)
    return TrainingState("p", Format.SAVED_MODEL, Producer(framework, version), optimizers=(held,))


@pytest.mark.parametrize(
    ("state", "loader"),
    [
        (_state("keras", "3.6.0", Generation.KERAS3), Loader("keras", "3.6.0")),
        (_state("keras", "2.2.4", Generation.KERAS1), Loader("keras", "2.2.4")),
        (_state("keras", None, Generation.KERAS3), Loader("keras", "")),
        (_state("tf.keras", "2.2.4-tf", Generation.OPTIMIZER_V2), Loader("tensorflow", "2.2.4")),
        (_state("tf.keras", "2.15.0", Generation.KERAS2), Loader("tensorflow", "2.15.0")),
        (_state("tf_keras", "2.21.0", Generation.KERAS2), Loader("tf_keras", "2.21.0")),
        (_state("tensorflow", "2.15.1", Generation.KERAS2), Loader("tensorflow", "2.15.1")),
        (_state("tensorflow", "2.21.0", Generation.KERAS2), Loader("tf_keras", "2.21.0")),
        (_state("tensorflow", "2.21.0", Generation.KERAS3), Loader("keras", "")),
        (_state(None, None, Generation.OPTIMIZER_V2), Loader("tensorflow", "")),
        (_state("transformers", "4.57.1", Generation.TORCH), Loader("transformers", "4.57.1")),
        (_state("torch", None, Generation.TORCH), Loader("torch", "")),
        (_state(None, None, Generation.TF1), None),
        (_state(None, None, None), None),
    ],
)
def test_the_producers_own(state: TrainingState, loader: Loader | None) -> None:
    """What wrote an artifact loads it; where it does not say so, the generation tells the line and no version."""
    assert own_loader(state) == loader
