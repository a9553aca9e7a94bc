"""Soft and hard K-means."""
