"""Heuristic numbers of the RBF network, with their units and evidence.

benchmarks/results/classifiers.md measures all of them together, as the defaults of
RBFNetClassifier. Where a comment says "not measured", no page varies the number itself.
"""

import math

# --- Initial units --------------------------------------------------------------------

# Iterations of K-means that place the centers, which training moves anyway. Growing
# the centers instead lowered the distortion by 4 % and cost four times as much, a third
# of a fit, without a gain in cross-validation (no page).
PLACEMENT_MAX_ITER = 10
# Seed of the draws of k-means++: fixed, so that the centers depend on no seed of the
# user; test_centers_depend_on_no_seed.
PLACEMENT_SEED = 0
# Neighbors whose distance sets the width of a unit: this fraction of the other centers,
# and at least this many. Not measured.
NEIGHBOR_FRACTION = 0.05
MIN_NEIGHBORS = 3
# Lower bound on a width, as a fraction of the mean width. Not measured.
MIN_RELATIVE_WIDTH = 0.1

# --- Choice of width factor and alpha by leave-one-out errors -------------------------

# Candidates for width_factor="auto", multiples of the neighbor widths. Not measured;
# test_noise_prefers_wide_units_and_a_disc_narrow_ones reaches both ends.
WIDTH_FACTORS = (1.0, math.sqrt(2.0), 2.0, 2.0 * math.sqrt(2.0))
# Candidates for alpha="auto", ascending. Not measured.
ALPHA_CANDIDATES = (0.1, 0.3, 1.0, 3.0)
# Multiples of alpha that are tried for each width factor: units that are trained later
# fit better, as if the penalty were smaller. Not measured.
LEAVE_ONE_OUT_PENALTIES = (0.01, 0.1, 1.0)
# Rows for the leave-one-out errors: this many for each unit, between the two bounds.
# Not measured.
SELECTION_ROWS_PER_UNIT = 5
MIN_SELECTION_ROWS = 1000
MAX_SELECTION_ROWS = 5000

# --- Output layer ---------------------------------------------------------------------

# Factors on the ridge regression, which predicts codes 0 and 1, to make logits of it.
# Not measured; the one with the lowest loss is taken.
LOGIT_FACTORS = (0.5, 1.0, 2.0, 4.0, 8.0, 16.0)
# Weight of a class without rows, in units of the mean weight of a row: its logarithm
# must be finite. Not measured.
EMPTY_CLASS_WEIGHT = 0.1
# Rounding of single precision in a variance of activations, relative to it. Ten times
# the float32 epsilon; test_units_that_coincide_need_no_penalty.
ACTIVATION_ROUNDING = 1e-6
# Iterations of the output layer before joint training, and without it. Ten end short of
# the optimum on purpose, see the section "Output" of the guide (no page).
OUTPUT_MAX_ITER_BEFORE_JOINT = 10
OUTPUT_MAX_ITER_ALONE = 500
# Stopping of the output layer: relative progress of the loss, and iterations without
# it. Not measured.
OUTPUT_TOL = 1e-3
OUTPUT_PATIENCE = 5
# Pairs of vectors in the memory of L-BFGS for the output layer: they are short next to
# a pass over the rows. Not measured.
OUTPUT_LBFGS_MEMORY = 20

# --- Joint training -------------------------------------------------------------------

# Learning rate of widths and scales, in units of that of the other parameters. Not
# measured.
WIDTH_RATE_FACTOR = 3.0
# Learning rate of partial_fit, in units of learning_rate: there it does not decay.
# test_partial_fit_does_not_undo_a_fit fails with the full rate.
PARTIAL_FIT_RATE_FACTOR = 0.25
# batch_size="auto": this fraction of the rows, rounded down to a power of two, between
# two bounds. classifiers.md has the accuracy and time with it.
BATCHES_PER_EPOCH = 32
MIN_BATCH_SIZE = 32
MAX_BATCH_SIZE = 256
# max_iter="auto": least number of epochs of Adam, and least number of its steps in all
# epochs; or iterations of L-BFGS. classifiers.md has the accuracy and time with them.
ADAM_EPOCHS = 20
ADAM_MIN_STEPS = 500
LBFGS_MAX_ITER = 150

# Joint training has diverged if its loss stays above that of the start by more than
# this fraction of the entropy of the classes, which is the loss of a constant
# prediction; test_joint_training_that_diverges_warns.
DIVERGENCE_MARGIN = 1e-3
# Additional margin after an earlier training, as a fraction of the loss at the start:
# the best epoch of Adam was up to 1.5 % above it on the data sets of scikit-learn;
# test_a_good_start_is_no_divergence.
WARM_START_MARGIN = 0.05
# A loss this close to the minimum under label smoothing counts as solved, as a fraction
# of the entropy of the classes; test_separated_classes_are_no_divergence.
SOLVED_MARGIN = 0.02
# Largest alpha for the mean loss of a row. It leaves no output, and single precision
# can hold it; test_numbers_whose_squares_overflow.
MAX_MEAN_ALPHA = 1e15

# --- Prediction -----------------------------------------------------------------------

# Relative difference of two widths that counts as rounding of float64. Users who edit a
# width change more than this; test_edited_attributes_predict_by_the_formula.
WIDTH_RTOL = 1e-12

# --- Prototypes -----------------------------------------------------------------------

# Columns of nearest_rows_. A matter of taste.
N_NEAREST_ROWS = 5
# Largest log activation of a row below which no unit can be trained: its gradients are
# about a millionth of the usual. Not measured; test_dead_units_warn.
DEAD_LOG_ACTIVATION = -14.0
# Relative difference of two familiarities that counts as rounding of single precision,
# in which the quantiles are computed; test_novelty.
FAMILIARITY_RTOL = 1e-5
# Quantiles of the familiarity of the training rows: novelty has steps of 1 / 1000.
FAMILIARITY_LEVELS = 1000
