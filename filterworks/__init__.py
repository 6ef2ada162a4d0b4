"""Convolution with one exact meaning, for arrays, images and time series."""

import lazy_loader

__version__ = "0.1.0"

# What this package offers stands in __init__.pyi; each module is imported when first used.
__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
