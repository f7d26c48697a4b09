"""How parts are learned: arrays in, arrays out. torch is imported when something is learned."""
