"""Sequences of related systems: their order, and what one solve hands to the next.

- `_features.py`, `_feature_matrix.py`: features, and the distances between them
- `_greedy_order.py`, `_two_opt.py`, `_hilbert_order.py`, `_kd_order.py`: orders
- `_trees.py`: spanning trees and trees of medians
- `_clusters.py`: k-means clusters of systems
- `_solve_sequence.py`: the driver as a Python loop
- `_solve_batch.py`: the driver as one compiled program
- `_solve_tree.py`: the driver along a tree
- `_learned_space.py`: a recycle space for a whole family
- `_galerkin_start.py`: starts projected on solved systems
"""

from ._clusters import Clusters as Clusters
from ._clusters import cluster as cluster
from ._features import low_modes as low_modes
from ._features import operator_features as operator_features
from ._features import principal_components as principal_components
from ._features import random_projection as random_projection
from ._galerkin_start import GalerkinStart as GalerkinStart
from ._galerkin_start import pod_basis as pod_basis
from ._greedy_order import greedy_order as greedy_order
from ._greedy_order import path_length as path_length
from ._hilbert_order import hilbert_order as hilbert_order
from ._kd_order import kd_order as kd_order
from ._learned_space import learned_space as learned_space
from ._solve_batch import Several as Several
from ._solve_batch import solve_batch as solve_batch
from ._solve_sequence import solve_sequence as solve_sequence
from ._solve_tree import solve_tree as solve_tree
from ._trees import SystemTree as SystemTree
from ._trees import median_tree as median_tree
from ._trees import spanning_tree as spanning_tree
from ._two_opt import two_opt as two_opt
