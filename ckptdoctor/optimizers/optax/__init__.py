"""optax: states of gradient transformations, found in trees of arrays."""
