"""Readers and writers of files, by suffix; they know nothing of filters.

Importing this package costs no more than NumPy: each format and its library is imported when
a file first needs it.
"""

from filterworks.files.formats import IMAGE_SUFFIXES
from filterworks.files.image import ImageReader, check_writable, open_image, write_image
from filterworks.files.page import ImageInfo, Metadata, Page

__all__ = [
    "IMAGE_SUFFIXES",
    "ImageInfo",
    "ImageReader",
    "Metadata",
    "Page",
    "check_writable",
    "open_image",
    "write_image",
]
