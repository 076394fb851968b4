"""Extremely randomized trees (Geurts et al., Machine Learning 63, 2006) that decide without scikit-learn."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from routers.base import Progress
from routers.errors import ArtifactError
from routers.features import FloatArray, Tensors, checked_tensor

__all__ = ["Forest"]

IntArray = NDArray[np.int64]

_PARTS = 10
"""Progress is told so many times while trees grow."""
_BLOCK = 256


class Forest:
    """The mean of many regression trees, each grown on all rows with cuts at random places.

    scikit-learn grows the trees. They are kept as a few flat tensors and read level by level, all trees at once, which
    takes a single prompt a fraction of the time and gives the same leaves.

    Attributes:
        roots: (n_trees,) places of the roots among the nodes.
        feature: (n_nodes,) column that a node asks for.
        threshold: (n_nodes,) largest value that goes left.
        children: (n_nodes, 2) places of the left and the right child; of a leaf twice its own.
        value: (n_nodes, n_outputs) mean label of the rows that reach a node.
        weight: (n_nodes,) how many rows these are.
        depth: cuts on the longest way from a root to a leaf.
    """

    roots: IntArray
    feature: IntArray
    threshold: FloatArray
    children: IntArray
    value: FloatArray
    weight: FloatArray
    depth: int

    def fit(
        self,
        rows: FloatArray,
        y: NDArray[np.float64],
        progress: Progress,
        *,
        n_trees: int,
        min_leaf: int,
        max_features: float,
        seed: int,
    ) -> Self:
        """Grow trees on features (n, n_features) and labels (n, n_outputs).

        Args:
            rows: features.
            y: labels.
            progress: told what is done.
            n_trees: number of trees.
            min_leaf: fewest rows of a leaf; half of the rows where they are fewer than twice as many.
            max_features: share of the features that are tried at each cut.
            seed: of features tried and cuts.
        """
        from sklearn.ensemble import ExtraTreesRegressor

        model = ExtraTreesRegressor(
            min_samples_leaf=max(1, min(min_leaf, len(rows) // 2)),
            max_features=max_features,
            random_state=seed,
            warm_start=True,
        )
        for part in range(_PARTS):
            progress("trees", part / _PARTS)
            grown = round(n_trees * (part + 1) / _PARTS)
            if grown > round(n_trees * part / _PARTS):
                model.set_params(n_estimators=grown).fit(rows, y if y.shape[1] > 1 else y[:, 0])
        self._take([tree.tree_ for tree in model.estimators_], y.shape[1])
        progress("trees", 1.0)
        return self

    def adapt(self, rows: FloatArray, y: NDArray[np.float64], weight: float) -> None:
        """Let further rows (n, n_features) with labels (n, n_outputs) move the means of the leaves that they reach.

        Cuts stay where they are. A new row counts for `weight` of those that the tree grew on, which is the mean of
        the posterior under a prior as strong as the rows that the leaf has seen.
        """
        leaves = self._leaves(rows)
        total = self.value * self.weight[:, None]
        for row, reached in enumerate(leaves):
            total[reached] += weight * y[row].astype(np.float32)
            self.weight[reached] += weight
        changed = np.unique(leaves)
        self.value[changed] = total[changed] / self.weight[changed, None]

    def predict(self, rows: FloatArray) -> FloatArray:
        """Mean over trees of the leaves that rows (n, n_features) reach, (n, n_outputs) float32."""
        out = np.empty((len(rows), self.value.shape[1]), dtype=np.float32)
        for start in range(0, len(rows), _BLOCK):
            part = rows[start : start + _BLOCK]
            out[start : start + _BLOCK] = self.value[self._leaves(part)].mean(axis=1)
        return out

    def tensors(self) -> Tensors:
        """What was learned, for saving."""
        return {
            "forest.roots": self.roots,
            "forest.feature": self.feature.astype(np.int32),
            "forest.threshold": self.threshold,
            "forest.children": self.children.astype(np.int32),
            "forest.value": self.value,
            "forest.weight": self.weight,
            "forest.depth": np.array([self.depth], dtype=np.int64),
        }

    def restore(self, tensors: Mapping[str, NDArray[Any]], n_features: int, n_outputs: int) -> Self:
        """Take the state that `tensors` gave.

        Raises:
            ArtifactError: a tensor is missing or of the wrong type, shape or range.
        """
        self.roots = checked_tensor(tensors, "forest.roots", np.int64, (None,))
        self.feature = checked_tensor(tensors, "forest.feature", np.int32, (None,)).astype(np.int64)
        n_nodes = len(self.feature)
        self.threshold = checked_tensor(tensors, "forest.threshold", np.float32, (n_nodes,))
        self.children = checked_tensor(tensors, "forest.children", np.int32, (n_nodes, 2)).astype(np.int64)
        self.value = checked_tensor(tensors, "forest.value", np.float32, (n_nodes, n_outputs))
        self.weight = checked_tensor(tensors, "forest.weight", np.float32, (n_nodes,))
        self.depth = int(checked_tensor(tensors, "forest.depth", np.int64, (1,))[0])
        inside = (
            _within(self.roots, n_nodes)
            and _within(self.feature, n_features)
            and _within(self.children, n_nodes)
            and (self.weight > 0).all()
            and 0 <= self.depth <= n_nodes
        )
        if not inside:
            raise ArtifactError("The trees of the router do not fit together: train and save it again.")
        return self

    def _take(self, trees: list[Any], n_outputs: int) -> None:
        """Put the nodes of scikit-learn's trees one after the other."""
        starts = np.cumsum([0, *(tree.node_count for tree in trees)])
        self.roots = starts[:-1].astype(np.int64)
        left, right = (
            np.concatenate([getattr(tree, side) + start for tree, start in zip(trees, starts, strict=False)])
            for side in ("children_left", "children_right")
        )
        leaf = np.concatenate([tree.children_left for tree in trees]) < 0
        own = np.arange(starts[-1])
        self.children = np.where(leaf[:, None], own[:, None], np.stack([left, right], axis=1)).astype(np.int64)
        self.feature = np.where(leaf, 0, np.concatenate([tree.feature for tree in trees])).astype(np.int64)
        exact = np.where(leaf, 0.0, np.concatenate([tree.threshold for tree in trees]))
        near = exact.astype(np.float32)
        # Features are float32: rounding down keeps on its side what lies between a cut and its nearest float32.
        self.threshold = np.where(near > exact, np.nextafter(near, np.float32(-np.inf)), near).astype(np.float32)
        value = np.concatenate([tree.value.reshape(-1, n_outputs) for tree in trees])
        self.value = np.ascontiguousarray(value, dtype=np.float32)
        self.weight = np.concatenate([tree.weighted_n_node_samples for tree in trees]).astype(np.float32)
        self.depth = max(int(tree.max_depth) for tree in trees)

    def _leaves(self, rows: FloatArray) -> IntArray:
        """Places of the leaves that rows reach, (n, n_trees)."""
        node = np.tile(self.roots, (len(rows), 1))
        each = np.arange(len(rows))[:, None]
        for _ in range(self.depth):
            right = rows[each, self.feature[node]] > self.threshold[node]
            node = self.children[node, right.astype(np.int64)]
        return node


def _within(places: IntArray, n: int) -> bool:
    return bool(len(places)) and int(places.min()) >= 0 and int(places.max()) < n
