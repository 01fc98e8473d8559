"""What a trained classifier is evaluated on."""

import numpy as np
import pandas as pd

from train_classifier import evaluate


def test_a_sequence_without_a_frame_has_the_score_0() -> None:
    """It is called by nothing, so a virus without a frame is missed, and another sequence is no false positive."""
    listed = [("v", True), ("no_frame", False), ("h", False)]
    sequences = pd.DataFrame(listed, columns=["sequence_id", "viral"]).assign(
        table=0, sequence=range(3), group="g", split="test"
    )
    frames = sequences.iloc[[0, 2]].assign(chunk=1, frame="F1", gc=0.5, annotated=None)
    evaluation, _ = evaluate(frames, sequences, np.array([0.9, 0.2]))
    of_sequences = evaluation[(evaluation["scored"] == "sequence") & (evaluation["by"] == "all")].iloc[0]
    assert (of_sequences["number"], of_sequences["auroc"]) == (3, 1.0)
    evaluation, _ = evaluate(frames, sequences.assign(viral=[True, True, False]), np.array([0.9, 0.2]))
    of_sequences = evaluation[(evaluation["scored"] == "sequence") & (evaluation["by"] == "all")].iloc[0]
    assert of_sequences["auroc"] == 0.5
