"""What an estimate of the gradient is worth, and which settings are fastest here."""
