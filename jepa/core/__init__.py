"""What everything stands on. The public face for third parties is what is named here."""
