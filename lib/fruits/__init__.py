"""Images to features of a neural network to principal components, on Spark.

`list_images`, `load_model`, `extract_features`, `fit_pca` and `load_pca` work on any Spark session: see README.md.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from fruits.errors import FruitsError, UsageError
    from fruits.features.dataframe import extract_features
    from fruits.features.model import load_model
    from fruits.images.paths import list_images
    from fruits.pca import fit_pca
    from fruits.pca_model import load_pca

__version__ = "0.1.0"
__all__ = ["FruitsError", "UsageError", "extract_features", "fit_pca", "list_images", "load_model", "load_pca"]

_HOMES = {
    "FruitsError": "fruits.errors",
    "UsageError": "fruits.errors",
    "extract_features": "fruits.features.dataframe",
    "fit_pca": "fruits.pca",
    "list_images": "fruits.images.paths",
    "load_model": "fruits.features.model",
    "load_pca": "fruits.pca_model",
}


# Imported when it is asked for: workers import this package, and must not wait for what only the driver needs.
def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'fruits' has no attribute {name!r}")
    return getattr(importlib.import_module(_HOMES[name]), name)
