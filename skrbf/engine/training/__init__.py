"""Training of any model: the loop, its optimizers and its records."""
