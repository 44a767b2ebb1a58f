"""Own data sets on disk: immutable versions, originals, rejected rows."""
