"""Networks that were made for images of 128 to 240 pixels, compared on the same 224."""

import torch


def test_every_network_takes_the_shared_crop(robust_family):
    assert robust_family.input_shape == (3, 224, 224)
    assert len(robust_family) == 8


def test_every_network_shows_an_attacker_the_gradient_of_the_shared_pixels(robust_bench, robust_family):
    chunk = next(robust_bench.test_images.chunks(2))
    for name, classifier in robust_family.members.items():
        x = chunk.x.to(classifier.device).requires_grad_()
        logits = classifier(x)
        (gradient,) = torch.autograd.grad(logits.square().sum(), x)
        assert gradient.shape == x.shape, name
        assert bool(gradient.flatten(1).any(1).all()), name
