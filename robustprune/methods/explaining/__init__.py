"""What an explanation by DeepLIFT is made of: contributions of weights, and pools that it can follow."""
