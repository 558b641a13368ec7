"""How important weights are, whatever the network: what scoring detectors (`initializers`) and scoring classifiers
(`classification.importances`) have in common.
"""
