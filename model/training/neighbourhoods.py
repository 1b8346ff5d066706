"""Coordinates of embeddings by their neighbourhood: what is joined by short chains of neighbours has nearly the same ones."""

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_matrix, diags
from scipy.sparse.linalg import eigsh
from sklearn.neighbors import NearestNeighbors

_NEIGHBOURS = 10


def neighbourhood_coordinates(embeddings: NDArray[np.float32], count: int) -> NDArray[np.float32]:
    """Coordinates (n, count) float32, rows of length 1, of embeddings (n, d): close where chains of neighbours are short.

    The first eigenvectors of the normalised graph that joins each embedding with its ten nearest (Ng, Jordan and Weiss, On
    Spectral Clustering, 2001), an edge counting for less the longer it is for those that it joins (Zelnik-Manor and Perona,
    Self-Tuning Spectral Clustering, 2004).
    """
    edges: csr_matrix = (
        NearestNeighbors(n_neighbors=_NEIGHBOURS, algorithm="brute").fit(embeddings).kneighbors_graph(mode="distance")
    )
    reach = np.maximum(edges.max(axis=1).toarray()[:, 0], 1e-6)
    joined = edges.tocoo()
    weights = np.exp(-(joined.data**2) / (reach[joined.row] * reach[joined.col]))
    one_way = csr_matrix((weights, (joined.row, joined.col)), shape=joined.shape)
    graph = (one_way + one_way.T) / 2
    scale = diags(1 / np.sqrt(np.asarray(graph.sum(axis=1))[:, 0]))
    # A start of its own, so that the same graph gives the same coordinates.
    vectors = eigsh(scale @ graph @ scale, count, which="LA", v0=np.ones(len(embeddings)))[1][:, ::-1]
    coordinates: NDArray[np.float32] = (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)
    return coordinates
