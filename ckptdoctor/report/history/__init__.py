"""What `history` says, in every form."""
