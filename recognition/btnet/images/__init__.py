"""Images: decoded, measured before that, resized in one arithmetic, and what JPEG takes from them."""
