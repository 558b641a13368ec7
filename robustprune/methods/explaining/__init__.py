"""How an answer of a network is explained: contributions of weights, and networks rewritten so that it can be."""
