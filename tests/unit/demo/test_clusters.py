"""Clustering the training prompts' text finds the four domains."""

from __future__ import annotations

import numpy as np

from demo.clusters import find_clusters
from demo.exam import sample_exam
from demo.families import DOMAINS


def test_clusters_are_the_domains_in_equal_sizes() -> None:
    found = find_clusters(seed=0, prompts=1200)
    assert sorted(found.names) == sorted(DOMAINS)
    assert np.ptp(found.counts.sum(axis=1)) <= 1
    assert found.counts.max(axis=1).sum() >= 0.98 * 1200


def test_held_out_prompts_go_to_their_domain() -> None:
    found = find_clusters(seed=1, prompts=1200)
    tasks = sample_exam("test", 400, 0)
    homes = found.assign([task.prompt for task in tasks])
    assert sum(home == task.domain for home, task in zip(homes, tasks, strict=True)) >= 0.98 * len(tasks)
