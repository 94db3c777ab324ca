import pytest


@pytest.fixture
def tiny_sizes() -> dict:
    """Of an M-SAM that takes milliseconds: arguments of its configuration."""
    return dict(
        embed_dim=24, depth=1, num_heads=2, decoder_dim=24, decoder_heads=2, decoder_mlp_dim=24, adapter_heads=2
    )
