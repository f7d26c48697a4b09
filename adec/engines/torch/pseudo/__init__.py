"""Forwards that read tokens and foresee those to come, by pseudo positions behind them."""
