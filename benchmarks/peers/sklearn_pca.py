"""scikit-learn's PCA of the features in Parquet."""

import json
import sys

import numpy as np
import pyarrow.dataset as ds
from sklearn.decomposition import PCA

store, components, result = sys.argv[1:]
column = ds.dataset(store).to_table(columns=["features"])["features"].combine_chunks()
features = column.flatten().to_numpy(zero_copy_only=False).reshape(len(column), -1)
pca = PCA(n_components=int(components), svd_solver="covariance_eigh").fit(features.astype(np.float64))
with open(result, "w") as file:  # noqa: PTH123
    json.dump({"images": len(features), "shares": pca.explained_variance_ratio_.tolist()}, file)
