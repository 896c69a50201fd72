"""Multi-resolution face recognition that keeps your gallery (BTNet, BMVC 2023)."""
