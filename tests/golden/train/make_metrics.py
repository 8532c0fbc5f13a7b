#!/usr/bin/python3
"""Makes metrics.f32 beside it with scikit-learn (Debian's python3-sklearn), for
tests/unit/train/test_metrics.c: little-endian float32, what stands in each
function, one behind the other. Run: ./make_metrics.py
"""
import os
import numpy as np
from sklearn import metrics as m

HERE = os.path.dirname(os.path.abspath(__file__))
rng = np.random.default_rng(7)
parts = []


def softmax(x):
    e = np.exp(x - x.max(axis=1, keepdims=True))
    return e / e.sum(axis=1, keepdims=True)


def macro(y, said):
    return [m.precision_score(y, said, average="macro", zero_division=0),
            m.recall_score(y, said, average="macro", zero_division=0),
            m.f1_score(y, said, average="macro", zero_division=0)]


def classes(n_classes, n_seen):
    """50 rows of logits, labels under n_seen; accuracy, top 2, precision,
    recall, f1, auc, perplexity, f1 of each class, the confusion matrix."""
    x = np.round(rng.normal(size=(50, n_classes)) * 2, 1).astype("f4")
    x += np.arange(n_classes, dtype="f4") / 1000  # no ties within a row
    x[:, n_seen:] -= 40  # never said either
    y = rng.integers(0, n_seen, 50)
    x[np.arange(50), y] += 1
    p = softmax(x.astype("f8"))
    said = x.argmax(axis=1)
    every = list(range(n_classes))
    if n_classes == 2:
        auc = m.roc_auc_score(y, x[:, 1].astype("f8") - x[:, 0])
    else:
        auc = np.mean([m.roc_auc_score(y == c, np.log(p[:, c]))
                       for c in range(n_seen)])
        if n_seen == n_classes:
            assert abs(auc - m.roc_auc_score(y, p, multi_class="ovr")) < 1e-9
    top = m.top_k_accuracy_score(y, p, k=2, labels=every) \
        if n_classes > 2 else 1.0
    parts.extend([x, y, [m.accuracy_score(y, said), top], macro(y, said),
                  [auc, np.exp(m.log_loss(y, p, labels=every))],
                  m.f1_score(y, said, labels=every, average=None,
                             zero_division=0),
                  m.confusion_matrix(y, said, labels=every)])


def bits():
    """40 rows of 3 logits, 0 or 1 each; share of right ones, precision, recall,
    f1, auc, all macro."""
    x = np.round(rng.normal(size=(40, 3)), 1).astype("f4") + np.float32(0.05)
    y = (rng.random((40, 3)) < 0.4).astype(int)
    said = (x > 0).astype(int)
    parts.extend([x, y, [(said == y).mean()], macro(y, said),
                  [m.roc_auc_score(y, x, average="macro")]])


def values():
    """30 rows of 2 values: what was said, what is true; mse, mae, r2."""
    x = rng.normal(size=(30, 2)).astype("f4")
    y = (x + rng.normal(size=(30, 2)) * 0.5 + 3).astype("f4")
    parts.extend([x, y, [m.mean_squared_error(y, x),
                         m.mean_absolute_error(y, x), m.r2_score(y, x)]])


classes(4, 4)
classes(2, 2)
classes(5, 3)
bits()
values()
np.concatenate([np.asarray(p, "<f4").ravel() for p in parts]).tofile(
    os.path.join(HERE, "metrics.f32"))
