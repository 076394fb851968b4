"""Clusters of the exam's training prompts: what each cluster expert practises on (C-BTM, arXiv 2303.14177).

The clustering sees only the text of the prompts, never which family wrote it; domains serve to name clusters.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from demo.exam import sample_exam
from demo.families import DOMAINS, Task
from routers.errors import DataError
from routers.features import ClusterFeatures
from routers.learning.balanced import BalancedKMeans

__all__ = ["Clusters", "find_clusters"]

_PROMPTS = 4000
_DIMENSIONS = 24


@dataclass(frozen=True, slots=True)
class Clusters:
    """Learned clusters, each named by the domain that most of its training prompts belong to.

    `counts` is (clusters, domains): how many training prompts of each domain fell into each cluster.
    """

    names: tuple[str, ...]
    counts: NDArray[np.int64]
    features: ClusterFeatures
    centroids: BalancedKMeans

    def assign(self, prompts: Sequence[str]) -> list[str]:
        """Return the name of the cluster whose centroid is nearest to each prompt."""
        nearest = self.centroids.predict(self.features.transform(list(prompts)))
        return [self.names[index] for index in nearest]


def find_clusters(seed: int = 0, prompts: int = _PROMPTS) -> Clusters:
    """Cluster `prompts` training prompts into as many balanced clusters as there are domains, and name them.

    Raises:
        DataError: two clusters are mostly of the same domain, so that experts could not be named.
    """
    tasks = sample_exam("train", prompts, seed)
    features = ClusterFeatures(_DIMENSIONS, random_state=seed)
    texts = [task.prompt for task in tasks]
    points = features.fit(texts).transform(texts)
    centroids = BalancedKMeans(len(DOMAINS), random_state=seed).fit(points)
    counts = _count(tasks, centroids.labels_)
    names = tuple(DOMAINS[index] for index in counts.argmax(axis=1))
    if len(set(names)) < len(names):
        twice = Counter(names).most_common(1)[0][0]
        raise DataError(f"Two clusters are both mostly {twice}: use another seed.")
    return Clusters(names, counts, features, centroids)


def _count(tasks: Sequence[Task], labels: NDArray[np.int64]) -> NDArray[np.int64]:
    counts = np.zeros((len(DOMAINS), len(DOMAINS)), dtype=np.int64)
    for task, label in zip(tasks, labels, strict=True):
        counts[label, DOMAINS.index(task.domain)] += 1
    return counts
