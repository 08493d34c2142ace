"""The gradient of the validation loss with respect to decays, learning rate and momentum: an estimator a file.

| symbol | here | meaning |
|---|---|---|
| w | `hand.take()` | the weights, shape (n,) |
| d | `decay` | the decay of each weight, shape (n,): the training criterion is C(w) = L(w) + sum_i d_i w_i^2 / 2 |
| E(w) | | the loss of the validation batches, without decay |
| dE/dd | `Estimate.by_decay` | the hypergradient, shape (n,) |
"""
