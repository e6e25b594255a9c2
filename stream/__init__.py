"""Everything with files, clocks and people in it: reading partner feeds, the main job and the
command line.
"""
