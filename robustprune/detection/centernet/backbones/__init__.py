"""Backbones of CenterNet: from images to maps of features, whose cells are 4, 8, 16 … pixels wide."""
