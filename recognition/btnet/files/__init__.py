"""Files read and written safely: whole or absent, plain data only, errors that name them."""
