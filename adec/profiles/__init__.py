"""Profiles: what calibration learned of a machine and a pair of models, as TOML."""
