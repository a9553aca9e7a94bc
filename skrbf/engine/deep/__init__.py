"""Autoencoders whose codes are clustered."""
