"""Heuristic numbers of the engine's data: their units and their evidence."""

import torch

# -- device and threads

# Least work of a pass, in multiply-adds (n_samples * n_features * n_clusters), for
# which device="auto" takes an accelerator. Below it launches and copies dominate. Not
# measured.
MIN_ACCELERATOR_WORK = 50_000_000

# Work of a pass for each thread, in multiply-adds. With less, threads wait for one
# another, many times longer than they compute where other programs use the cores:
# benchmarks/results/threads.md.
MIN_WORK_PER_THREAD = 1 << 25

# -- blocks of rows

# Size of a block of responsibilities for each thread, in bytes: about the cache of a
# core. Passes are faster over smaller blocks, products over larger ones. It was chosen
# by trial with benchmarks/kmeans_speed.py, without a page for other sizes.
CACHE_BLOCK_BYTES = 1 << 21
# Number of threads from which on the block grows no more, to bound the memory. Tested
# in tests/engine/data/test_rows.py, not measured.
MAX_CACHE_THREADS = 8
# Size of a block of responsibilities on an accelerator, in bytes. Not measured.
ACCELERATOR_BLOCK_BYTES = 1 << 26
# Temporaries of the size of a block that may exist at once: the memory that a block may
# take is the working memory over this number. benchmarks/results/memory.md.
TEMPORARIES_PER_BLOCK = 8
# Maximum size of a block of dense rows, in multiples of its temporaries: the rows of a
# block are read several times, and should stay in the cache. Not measured on a page.
MAX_ROWS_PER_TEMPORARY = 4

# -- range of numbers

# Part of the exponents of a dtype within which the variance of a feature has to lie.
# Sums of squares over the rows and products of small differences then stay in range,
# too: tests/soft_kmeans/test_range.py.
SAFE_EXPONENT_FRACTION = 0.4
# Powers of two up to this exponent have an inverse in float64.
MAX_SCALE_EXPONENT = 1000

# -- training data

# Training needs no more digits once the data are centered and scaled.
TRAINING_DTYPE = torch.float32
# Smallest weight that counts, in units of the mean weight. Gradients have the weight as
# a factor, and Adam squares them in the dtype of training.
MIN_RELATIVE_WEIGHT = torch.finfo(TRAINING_DTYPE).tiny ** 0.5
# Least scale of a feature, as a part of its range: a feature that is nearly always the
# same is not blown up. Tested in tests/engine/rbf/test_fit.py, not measured.
MIN_SCALE_OF_RANGE = 0.25
# Bound of the absolute value of a scaled feature: its square stays finite in float32.
MAX_SCALED_VALUE = 1e10
# Relevance of a feature that does not depend on its correlation ratio: a part of the
# mean correlation ratio of all features, and a correlation ratio. Not measured on a
# page; tested in tests/engine/rbf/test_fit.py.
SHARED_RELEVANCE = 0.3
MIN_RELEVANCE = 0.02
