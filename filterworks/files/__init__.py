"""Readers and writers of files, by suffix; they know nothing of filters.

Importing this package costs no more than NumPy: each format and its library is imported when
a file first needs it.
"""

from filterworks.files.formats import (
    ARCHIVE_SUFFIXES,
    IMAGE_SUFFIXES,
    STORE_METADATA,
    RowSheet,
    Sheet,
    is_archive,
    is_store,
)
from filterworks.files.image import ImageReader, named, naming, open_image, suffix_of, whole
from filterworks.files.page import Alpha, Described, ImageInfo, Layout, Metadata, Page, Raster
from filterworks.files.stacks import stacks
from filterworks.files.writing import ImageWriter, check_writable, create_image, write_image

__all__ = [
    "ARCHIVE_SUFFIXES",
    "IMAGE_SUFFIXES",
    "STORE_METADATA",
    "Alpha",
    "Described",
    "ImageInfo",
    "ImageReader",
    "ImageWriter",
    "Layout",
    "Metadata",
    "Page",
    "Raster",
    "RowSheet",
    "Sheet",
    "check_writable",
    "create_image",
    "is_archive",
    "is_store",
    "named",
    "naming",
    "open_image",
    "stacks",
    "suffix_of",
    "whole",
    "write_image",
]
