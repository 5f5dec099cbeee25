"""Files of torch.save, written without torch: what is exchanged is new, everything else stays as it is."""
