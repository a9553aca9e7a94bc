"""Heuristic numbers of K-means: their units and their evidence.

The inertia and the time that the numbers of growth and of split-and-merge lead to are
measured in benchmarks/results/kmeans_quality.md. There is no page for other values.
"""

# -- rounding, in units of the machine epsilon of the dtype

# Rounding error of a distortion, over the sum of squares about the origin.
DISTORTION_ROUNDING = 4
# A distortion of less than this many rounding errors is taken for 0 by the noise level.
# tests/soft_kmeans/test_soft.py, test_equal_rows_have_no_temperature.
ZERO_DISTORTION_ROUNDINGS = 4
# An inertia of less than this many rounding errors is computed again in double
# precision. tests/soft_kmeans/test_range.py, on fill values.
DOUBTFUL_INERTIA_ROUNDINGS = 1 << 5
# A variance of more than this part of the squared mean is safe as a difference of sums
# of squares. tests/soft_kmeans/test_range.py, on sparse rows far from zero.
SAFE_VARIANCE_ROUNDING = 1 << 12
# Relative changes of centers and of the temperature that rounding alone can make.
CENTER_ROUNDING = 64
# Rows farther from their center than this many roundings of the largest squared norm
# may fill an empty cluster. tests/engine/kmeans/test_lloyd.py.
FILL_DISTANCE_ROUNDING = 16
# Rounding error of a responsibility: what exponentials, roots and products may lose.
# tests/engine/kmeans/test_predict.py.
RESPONSIBILITY_ROUNDING = 8

# -- origin and unit of distances

# Dense rows of up to this many numbers are centered by a copy. Not measured on a page.
MAX_COPIED_NUMBERS = 1 << 20
# Distances are computed about an origin in the middle where 0 is farther than this from
# it, in standard deviations of the rows or in radii of the centers.
# tests/soft_kmeans/test_limits.py, test_float32_data_far_from_the_origin.
FAR_ORIGIN = 16
# Rows at prediction are clamped to this part of the exponents of their dtype, in units
# of the centers: products stay finite, and rows that far away are equally near to all
# centers. tests/soft_kmeans/test_range.py.
PREDICTED_EXPONENT_FRACTION = 0.2

# -- largest variance

# Features up to which the covariance matrix is formed: its eigenvalues are then faster
# than products with it. Not measured on a page.
MAX_COVARIANCE_FEATURES = 300
# Products with the covariance above that number.
LANCZOS_STEPS = 40

# -- Lloyd iterations

# Iterations at the present progress that a run may still need to reach its target.
TARGET_PATIENCE = 25
# Iterations without progress beyond rounding after which a run ends.
MAX_STALLED_ITERATIONS = 10
# A cluster consists of one row where it weighs less than this many times the row.
SINGLE_ROW_WEIGHT_RATIO = 1 + 1e-9

# -- annealing

# Steps at each temperature on the way down, and ratio of a temperature to the previous
# one. Compared with warming in tests/soft_kmeans/test_soft.py.
ANNEAL_STEPS = 5
ANNEAL_COOLING = 0.8
# Distance of the centers from the mean at the start, as a part of their final one.
ANNEAL_START = 0.01
# A second start, from annealing, has to be better by this part of the scatter, and so
# has one cluster above the critical temperature: more than where iterations stop.
MIN_RELATIVE_GAIN = 1e-5

# Squared distance up to which two centers are as good as one, in units of `tol` and of
# the variance per feature or the temperature, whichever is less. Slow iterations end
# when centers that meet are still some of their steps apart: the factor allows for
# steps of a three hundredth of the remaining way. With it, tests/soft_kmeans/
# test_range.py finds the same clusters at a `tol` of 0 and of 1e-12. The distance
# without a unit of `tol` is bounded from below, since no iteration goes on below
# rounding, and from above.
COINCIDENT_PER_TOL = 1e5
MIN_COINCIDENT, MAX_COINCIDENT = 1e-9, 1e-4

# -- growth

# Least ratio of the temperature after a round to that before it.
GROWTH_COOLING = 0.3

# -- splits

# Power iterations for the main axis of each cluster.
POWER_STEPS = 3
# Intervals of the main axis between which a cut is tried, and the half of them that the
# positions of the rows reach: a little less, so that no row lies beyond the last.
CUT_BINS = 64
CUT_REACH = CUT_BINS / 2 * (1 - 1e-6)
# Dense rows of up to this many features are as fast to add one by one as in a product.
# Not measured on a page.
MAX_UNVECTORIZED_FEATURES = 3

# -- split-and-merge

# Part of the centers that moves at once in the first round. The number is halved after
# a round that fails or hardly helps.
MOVED_FRACTION = 1 / 4
# Part of the cost of the merge that the gain of the split reaches in moves that are
# tried.
MIN_GAIN_PER_COST = 0.3
# Most clusters that compete to be split, and most that compete to be dropped. The time
# of a round then grows as that of Lloyd iterations does. Measured in
# benchmarks/results/kmeans_quality.md, few rows for each cluster.
MAX_COMPETING = 512
# Part of the clusters that have all rows in one place, from which on these count as
# such. A few of them are outliers, and to protect their neighbors forbids moves that
# help. benchmarks/results/kmeans_quality.md, few rows for each cluster.
MIN_SINGLE_POINT_FRACTION = 1 / 4
# A move is not tried if it raises the distortion by more than this part at first.
MAX_RELATIVE_RISE = 0.5
# Below this number of clusters moves are made one by one. Twice as many as there are
# clusters compete, and at most the second number.
MIN_CLUSTERS_AT_ONCE = 20
MAX_MOVE_CANDIDATES = 24
# Up to this number of clusters, other starts compete as well, as many as the second
# number says. benchmarks/results/kmeans_quality.md, below 8 clusters.
MAX_CLUSTERS_SPREAD = 7
SPREAD_STARTS = 64
# Most numbers in the centers of all candidates, and in their distances to the rows
# beyond eight candidates. Not measured on a page.
MAX_CANDIDATE_NUMBERS = 1 << 20
# Candidates that are best after a few iterations, and go to the end.
FINALISTS = 2
# Relative fall of the distortion above which a new state replaces the best one.
MIN_RELATIVE_IMPROVEMENT = 1e-6
# Least relative fall of the distortion in a round that does not count as failed. Very
# few clusters have no such limit: there, more rounds cost little.
MIN_RELATIVE_FALL = 2e-3
# Most Lloyd iterations after a move, and the relative fall of the distortion at which
# they stop: after several moves at once, and after a single one.
MOVE_ITERATIONS = 30
MOVES_TOL = 5e-3
SINGLE_MOVE_TOL = 1e-3

# -- spread starts

# Rows of the sample that represents longer tables.
SPREAD_SAMPLE = 2048
# Tables of more rows are not sorted: they have no spread starts. Not measured.
MAX_SORTED_ROWS = 1 << 20
