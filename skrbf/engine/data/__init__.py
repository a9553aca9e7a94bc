"""Rows of a fit: on a device, in blocks, deduplicated and scaled."""
