"""How files hold named tensors: bytes in, names and tensor references out. Nothing here knows what an optimizer is."""
