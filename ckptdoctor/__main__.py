"""`python -m ckptdoctor`."""

from ckptdoctor.start import main

main()
