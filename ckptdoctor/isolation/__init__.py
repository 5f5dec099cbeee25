"""A process that may die: what libhdf5 reads is read there.

HDF5's library is 300,000 lines of C that trust their input; files that crash it are found every month, and Python
cannot catch a segmentation fault. Functions that call it are therefore run in a worker process, which serves many calls
and is started anew when it died. A crash costs the file at fault, and nothing else.

`client` is our side, `worker` the other, `messages` what they say to each other, `limits` what the worker may use,
`ownership` whether it may be a fork.
"""
