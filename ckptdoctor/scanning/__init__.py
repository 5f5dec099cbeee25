"""`scan`: every artifact below some prefixes judged, batch by batch, into files that a table is made of."""
