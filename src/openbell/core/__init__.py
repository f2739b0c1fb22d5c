"""The compiled path of a tick: symbol table, rings, snapshot, and the frame listener that feeds them."""
