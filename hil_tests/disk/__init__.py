"""The record's disk under test: a log of every write and flush, what a power cut leaves, and disks that fail.

``logged`` attaches an ext4 file system whose block device keeps a log; ``replay`` reads the log and builds the
disk as a cut at any point leaves it. Nothing here knows the instrument.
"""
