"""Files of torch.save: the pickles and storages in zip archives, legacy streams and the tar of torch 0.1."""
