"""The notebooks' controls: thin views over functions of the rooms below, in Chinese and English."""
