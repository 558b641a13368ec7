"""How an answer of a network is explained: contributions of weights, and networks rewritten for Captum to follow."""
