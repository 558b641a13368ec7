"""The task of classification: networks, given weights, labelled images, measures."""
