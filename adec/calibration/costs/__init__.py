"""How long forwards take on this machine, and with how many threads they are fastest."""
