"""Calibration of a pair whose large model is behind a server: what is asked costs money."""
