"""What measures models: clicks, comparison, transfer."""
