"""Lists of arrays that somebody dumped: pickle, npy, npz."""
