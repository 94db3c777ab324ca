"""What turns features and prompts into a mask: prompt encoder, mask-enhanced adapter, mask decoder."""
