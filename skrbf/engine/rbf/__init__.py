"""RBF networks."""
