"""Ablations: one thing varied, everything else alike, and what that is worth."""
