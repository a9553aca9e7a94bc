"""K-means, deep clustering and RBF networks for scikit-learn, on torch."""

from skrbf._deep_centering import DeepCenteringClustering
from skrbf._rbf_net import RBFNetClassifier
from skrbf._soft_kmeans import SoftKMeans

__version__ = "0.1.0.dev0"

__all__ = ["DeepCenteringClustering", "RBFNetClassifier", "SoftKMeans", "__version__"]
