"""The programs of NumPy, a file a task; nothing of jaxcollapse is in them."""
