"""Work that several workers share: processes on this machine, or the workers of a Ray cluster."""
