"""The page of `btnet demo-page`: two faces, one of them shrunk, scored by trunk and branch."""
