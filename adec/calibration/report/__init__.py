"""What a calibration found, told: to `adec run` as a profile, to people as text and pictures."""
