"""What padding does to the text encoder, with its mask and without."""

import torch

from dbeta.model.text_encoder import TextEncoder

SHORT = torch.tensor([[9, 17, 5, 1]])
PADDED = torch.tensor([[9, 17, 5, 1, 0, 0, 0]])
MASK = torch.tensor([[1, 1, 1, 1, 0, 0, 0]])


def test_padding_changes_nothing(micro_config):
    encoder = TextEncoder(micro_config().text_config).eval()
    alone = encoder(SHORT, torch.ones_like(SHORT))
    torch.testing.assert_close(encoder(PADDED, MASK)[:, :4], alone)
    torch.testing.assert_close(encoder(SHORT), alone)
    other = PADDED.clone()
    other[:, 4:] = 33
    torch.testing.assert_close(encoder(other, MASK)[:, :4], alone)


def test_padding_does_change_the_published_model(micro_config):
    encoder = TextEncoder(micro_config().text_config, use_mask=False).eval()
    assert not torch.allclose(encoder(PADDED, MASK)[:, :4], encoder(SHORT), atol=1e-3)
    torch.testing.assert_close(encoder(PADDED, MASK), encoder(PADDED))


def test_the_order_of_words_matters(micro_config):
    encoder = TextEncoder(micro_config().text_config).eval()
    swapped = torch.tensor([[17, 9, 5, 1]])
    assert not torch.allclose(encoder(SHORT)[:, 3], encoder(swapped)[:, 3], atol=1e-4)
