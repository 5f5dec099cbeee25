"""What runs under the user's interpreter: the only place that imports TensorFlow, Keras and PyTorch.

It depends on nothing but the framework and what the framework brings (numpy, h5py), and keeps to the syntax of Python
3.7, so that `verify --python` can point at an environment of any age, without ckptdoctor in it.
"""
