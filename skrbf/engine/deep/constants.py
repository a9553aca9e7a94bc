"""Heuristic numbers of deep clustering."""

# Floats per row, besides the features, that the size of a block allows for a network.
# Layers are wider, but a block must have a few hundred rows to pay for reading their
# weights. Not measured.
NETWORK_COLUMNS = 256

# Rows of a block where memory allows them, even if a cache does not. Not measured; the
# effect is in tests/engine/deep/test_predict.py.
MIN_NETWORK_BLOCK_ROWS = 128

# Multiply-adds of a network per row and feature, for the choice of a device before the
# network exists: about 3 million weights over 600 features. Not measured.
NETWORK_WORK_PER_FEATURE = 5000

# Consecutive epochs with a label change below `tol` that end a fit, unless an interval
# of K-means is longer. Not measured.
MIN_SETTLED_EPOCHS = 3

# The codes have collapsed if their variance falls to this fraction of the variance at
# the start of clustering. Not measured; sound fits keep a quarter or more in
# tests/deep_centering/test_failures.py, test_loose_clusters_do_not_shrink_to_nothing.
COLLAPSED_VARIANCE_FRACTION = 1e-3

# A reconstruction error is in units of that of the mean. A fit warns if the last error
# is above the first number and above the second number times the lowest error. Not
# measured.
POOR_RECONSTRUCTION_ERROR = 0.95
RISEN_RECONSTRUCTION_RATIO = 1.1

# A module passed as trained is taken for an untrained one if its reconstruction error,
# in the same units, is above the first number and above the second number times the
# error of as many principal components. Randomly initialized networks with two or more
# layers have errors of 0.91 to 1.3 on the data sets of scikit-learn. Noise leaves more
# in the rows than codes can hold, also after training. Both cases are in
# tests/deep_centering/test_failures.py.
UNTRAINED_RECONSTRUCTION_ERROR = 0.9
UNTRAINED_OVER_LINEAR_RATIO = 1.1

# Approximate numbers of rows in that test, of the network and of the principal
# components. Not measured.
UNTRAINED_TEST_ROWS = 2048
LINEAR_TEST_ROWS = 512

# Codes are taken for unbounded if rows multiplied by the first number have a code with
# an entry above the second number. Not measured.
FAR_ROW_FACTOR = 1e6
LARGEST_BOUNDED_CODE = 100.0

# Rows per hash in the fingerprint of a table: the same on every device, for the same
# fingerprint. Not measured.
HASHED_ROWS = 2**14
