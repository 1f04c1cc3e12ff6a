"""Measures how fast speech is made here: by stage, by batch, against the memory's bandwidth, and against the peers."""
