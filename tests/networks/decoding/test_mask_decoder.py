import torch

from ..golden import normal, tiny_model


def decoder_arguments(n=2):
    return normal(0, (n, 48, 2, 3, 4)), normal(1, (2, 3, 4, 48)), normal(2, (n, 3, 48)), normal(3, (n, 48))


def test_single_and_multimask():
    decoder = tiny_model().mask_decoder
    masks, iou = decoder(*decoder_arguments())
    assert masks.shape == (2, 1, 8, 12, 16) and iou.shape == (2, 1)
    three, three_iou = decoder(*decoder_arguments(), multimask=True)
    assert three.shape == (2, 3, 8, 12, 16) and three_iou.shape == (2, 3)
    with torch.no_grad():
        decoder.output_hypernetworks_mlps[0].layers[-1].bias.add_(1)
    assert not torch.equal(decoder(*decoder_arguments())[0], masks)
    assert torch.equal(decoder(*decoder_arguments(), multimask=True)[0], three)


def test_passes_are_independent():
    decoder = tiny_model().mask_decoder
    image, position, sparse, classes = decoder_arguments()
    masks, iou = decoder(image, position, sparse, classes)
    for i in range(2):
        one = slice(i, i + 1)
        mask, score = decoder(image[one], position, sparse[one], classes[one])
        torch.testing.assert_close(mask, masks[one], rtol=1e-4, atol=1e-4)
        torch.testing.assert_close(score, iou[one], rtol=1e-4, atol=1e-4)


def test_class_embedding_reaches_the_mask_not_padding():
    decoder = tiny_model().mask_decoder
    image, position, sparse, classes = decoder_arguments()
    changed = decoder(image, position, sparse, classes + 1)[0]
    assert not torch.allclose(changed, decoder(image, position, sparse, classes)[0])
