"""Bad input by the thousand: what is read from outside is damaged at random, and read."""
