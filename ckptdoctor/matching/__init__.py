"""Two artifacts side by side: which optimizer, which variable of one is which of the other's, confirmed by the weights.

Both that move state from one into the other (`grafting`) and that hold one against the other (`comparison`) start here.
"""
