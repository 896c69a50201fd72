"""btnet.interop."""
