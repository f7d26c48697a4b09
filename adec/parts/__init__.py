"""Parts: small trained additions, each bound to one model."""
