"""CenterNet (Zhou et al., Objects as Points, 2019): an object is the peak of a heat map, and its size is read there."""
