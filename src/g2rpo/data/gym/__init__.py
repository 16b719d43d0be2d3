"""Six visual tasks drawn by procedure, with the reward topologies of the real ones. 64 x 64 pixels,
no file, no download.
"""
