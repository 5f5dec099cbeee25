"""What `explain` says, in every form."""
