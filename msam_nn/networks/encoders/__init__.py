"""What turns an image into features."""
