"""
Predicted labels: tier, family and topics of items, learned from those that people labelled.

`predict_labels` fits the label heads and labels a table of items; `evaluate_labels` says how good the labels are;
`label_live` labels what came over HTTP since the artifact was trained.
"""

from training.labels.heads import LabelHeads, load_heads
from training.labels.live import LiveLabelResult, label_live
from training.labels.predict import LabelParams, PredictedLabels, predict_labels
from training.labels.report import evaluate_labels

__all__ = [
    "LabelHeads",
    "LabelParams",
    "LiveLabelResult",
    "PredictedLabels",
    "evaluate_labels",
    "label_live",
    "load_heads",
    "predict_labels",
]
