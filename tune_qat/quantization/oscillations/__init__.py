"""Oscillations of weights (Nagel et al., ICML 2022, arXiv 2203.11086): recorded, dampened, frozen.

Near the border of two bins a latent weight is pushed back and forth, and its code with it. `tracking` counts how often,
`freezing` holds codes that oscillate too often, and `dampening` is a loss that keeps weights away from borders.
"""
