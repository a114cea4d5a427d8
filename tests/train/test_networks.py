"""The networks are what their papers say, to the parameter, and their parts do what they are there for."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from device.cli import main
from train.describe import size_of
from train.errors import RecipeError
from train.networks import PRETRAINED, build, origin
from train.networks.deeplabv3plus import DeepLabV3Plus
from train.networks.lwbna import Attention, Conv3x3, ConvBlock, LWBNAUnet, Pair
from train.networks.narrow_classifier import NarrowClassifier, load_encoder
from train.networks.pretrained import Lite0Encoder
from train.networks.unet import UNet
from train.recipe import NetworkSpec


def image(side: int = 64, seed: int = 0) -> torch.Tensor:
    return torch.rand(1, 3, side, side, generator=torch.Generator().manual_seed(seed))


def test_the_published_network_to_the_parameter():
    size = size_of(LWBNAUnet(width=128, outputs=3), 320)
    assert size.trainable == 2_954_211
    assert size.trainable + size.statistics == 2_958_819


@pytest.mark.parametrize(
    ("width", "side", "gmac"),
    [(128, 320, 66.0), (128, 256, 42.3), (64, 320, 16.7), (48, 320, 9.45), (32, 320, 4.26), (16, 256, 0.71)],
)
def test_published_operations(width, side, gmac):
    assert size_of(LWBNAUnet(width=width), side).macs / 1e9 == pytest.approx(gmac, rel=0.01)


def test_the_references_have_the_published_sizes():
    unet = size_of(UNet(outputs=1), 320)
    assert unet.trainable == 31_037_633
    assert unet.macs / 1e9 == pytest.approx(75.3, rel=0.01)
    assert size_of(DeepLabV3Plus(outputs=1), 320).trainable == 40_346_785
    # The backbone is ResNet-50 without its classifier.
    assert size_of(torch.nn.Sequential(*_backbone()), 64).trainable == 23_508_032


def _backbone():
    network = DeepLabV3Plus()
    return network.stem, network.low, network.high


@pytest.mark.parametrize("network", [UNet(outputs=2), DeepLabV3Plus(outputs=2), LWBNAUnet(width=16, outputs=2)])
def test_logits_at_the_input_resolution(network):
    assert network.eval()(image()).shape == (1, 2, 64, 64)
    with pytest.raises(ValueError, match="multiple of 16"):
        network(image(40))


def test_a_stride_2_stem_halves_the_output_and_quarters_the_work():
    plain, stem = LWBNAUnet(width=32), LWBNAUnet(width=32, stem=True)
    assert stem.eval()(image()).shape == (1, 3, 32, 32)
    assert size_of(stem, 256).macs / size_of(plain, 256).macs == pytest.approx(0.25, abs=0.01)


def test_the_mid_block_reaches_the_output():
    """One public port computes the mid block and then discards its result."""
    torch.manual_seed(0)
    network = LWBNAUnet(width=16).eval()
    before = network(image())
    with torch.no_grad():
        network.mid.narrowing.convs[-1].conv.weight += 1.0  # the narrowest convolution
    assert not torch.allclose(before, network(image()), atol=1e-4)
    network(image()).square().sum().backward()
    silent = [name for name, p in network.named_parameters() if p.grad is None]
    assert silent == []  # no part is computed in vain


def test_the_mid_block_adds_its_first_map():
    torch.manual_seed(0)
    mid = LWBNAUnet(width=16).mid.eval()
    x = torch.rand(1, 16, 8, 8)
    _, first = mid.narrowing(x)
    with torch.no_grad():
        mid.widen.conv.weight.zero_()
        mid.widen.conv.bias.zero_()
    assert torch.equal(mid(x), first)


def test_narrowing_widths_and_knobs():
    def widths(**knobs):
        return [c.conv.out_channels for c in LWBNAUnet(**knobs).mid.narrowing.convs]

    assert widths() == [128, 64, 32, 16]
    assert widths(width=64, narrowing_factor=4, narrowing_steps=2) == [64, 16]
    assert min(widths(width=16)) == 8  # never narrower: int8 kernels, and gates that would die
    shallow = LWBNAUnet(width=16, depth=2).eval()
    assert len(shallow.encoder.levels) == len(shallow.decoder) == 2
    assert shallow(image(20)).shape == (1, 3, 20, 20)


def test_ablations_leave_out_what_they_name_and_nothing_else():
    whole = LWBNAUnet(width=32, depth=2)
    bare = LWBNAUnet(width=32, depth=2, attention=False)
    assert not any(isinstance(m, Attention) for m in bare.modules())
    attention = sum(p.numel() for m in whole.modules() if isinstance(m, Attention) for p in m.parameters())
    parameters = {n: sum(p.numel() for p in net.parameters()) for n, net in (("whole", whole), ("bare", bare))}
    assert parameters["whole"] - parameters["bare"] == attention > 0
    joined = LWBNAUnet(width=32, depth=2, skips="concatenate")
    assert sum(p.numel() for p in joined.parameters()) - parameters["whole"] == 2 * 32 * 32 * 9
    assert joined(image()).shape == whole(image()).shape


def test_a_seed_draws_the_weights_that_it_always_drew():
    """Convolutions first, then the gate: recipes name a seed, and the released runs were made with it."""
    torch.manual_seed(0)
    pair = Pair(3, 16)
    torch.manual_seed(0)
    first, second = ConvBlock(3, 16), ConvBlock(16, 16)
    for drawn, block in ((pair[0], first), (pair[1], second)):
        assert all(torch.equal(a, b) for a, b in zip(drawn.parameters(), block.parameters()))


@pytest.mark.parametrize(("skips", "used"), [("add", True), ("concatenate", True), ("none", False)])
def test_skips_reach_the_decoder_unless_left_out(skips, used, monkeypatch):
    torch.manual_seed(0)
    network = LWBNAUnet(width=16, depth=2, skips=skips).eval()
    with torch.no_grad():
        before = network(image())
        encode = network.encoder.forward
        monkeypatch.setattr(network.encoder, "forward", lambda x: (encode(x)[0], [0 * s for s in encode(x)[1]]))
        assert torch.equal(network(image()), before) != used


def test_gates_lie_between_a_half_and_one():
    torch.manual_seed(0)
    gate = Attention(16)
    with torch.no_grad():
        gate.dense.weight.mul_(30)
    x = torch.rand(4, 16, 8, 8) + 0.1
    ratio = gate(x) / x
    ratio = ratio.detach()
    assert float(ratio.min()) >= 0.5 and float(ratio.max()) <= 1.0
    assert float(ratio.std()) > 0.05


def test_stride_2_pads_on_the_right_and_bottom_like_tensorflow():
    conv = Conv3x3(1, 1, stride=2)
    with torch.no_grad():
        conv.conv.weight.fill_(1.0)
        conv.conv.bias.zero_()
        x = torch.arange(16.0).reshape(1, 1, 4, 4)
        out = conv(x)[0, 0].numpy()
    padded = np.pad(np.arange(16.0).reshape(4, 4), ((0, 1), (0, 1)))
    wanted = [[padded[r : r + 3, c : c + 3].sum() for c in (0, 2)] for r in (0, 2)]
    np.testing.assert_allclose(out, wanted)


def test_a_width_that_the_kernels_dislike_is_refused():
    with pytest.raises(RecipeError, match="multiple of 16"):
        build(NetworkSpec(width=33), 1)
    with pytest.raises(RecipeError, match="resnet"):
        build(NetworkSpec(kind="resnet"), 1)


def test_the_classifier_narrows_and_takes_over_an_encoder():
    torch.manual_seed(0)
    segmenter, classifier = LWBNAUnet(width=16, stem=True), NarrowClassifier(width=16, stem=True)
    load_encoder(classifier, segmenter.state_dict())
    segmenter.eval(), classifier.eval()
    x = image()
    torch.testing.assert_close(classifier.encoder(x)[0], segmenter.encoder(x)[0])
    assert classifier(x).shape == (1, 1)
    with pytest.raises(ValueError, match="does not fit"):
        load_encoder(NarrowClassifier(width=32), segmenter.state_dict())
    doubled = NarrowClassifier(width=16, growth=2, depth=3)
    assert doubled.encoder.outputs == 64  # the paper's classifiers may double their channels per level


def test_the_mobile_classifier_has_the_published_size():
    """EfficientNet-B0 has 5.3 M parameters with a head for 1,000 classes (Tan and Le, ICML 2019)."""
    network = build(NetworkSpec(kind="efficientnet_b0"), 1)
    parameters = sum(p.numel() for p in network.parameters())
    assert parameters + 999 * (1280 + 1) == pytest.approx(5.29e6, rel=0.005)
    assert network(torch.rand(2, 3, 64, 64)).shape == (2, 1)


def test_the_pretrained_teacher_knows_imagenet_but_for_its_last_layer():
    """EfficientNet-Lite0 has 4.65 M parameters with a head for 1,000 classes (its authors' table)."""
    network = build(NetworkSpec(kind="efficientnet_lite0"), 1).eval()
    parameters = sum(p.numel() for p in network.parameters())
    assert parameters + 999 * (1280 + 1) == pytest.approx(4.65e6, rel=0.005)
    assert network(torch.rand(2, 3, 64, 64)).shape == (2, 1)
    torch.manual_seed(1)
    again = build(NetworkSpec(kind="efficientnet_lite0"), 1).state_dict()
    changed = [name for name, weights in network.state_dict().items() if not torch.equal(weights, again[name])]
    assert {name.split(".")[1] for name in changed} == {"_fc"}


def test_the_pretrained_segmenter_keeps_imagenets_encoder_and_draws_its_decoder_anew():
    spec = NetworkSpec(kind="efficientnet_lite0_unet")
    network = build(spec, 2).eval()
    assert network(torch.rand(1, 3, 64, 64)).shape == (1, 2, 64, 64)
    again = build(spec, 2).state_dict()
    changed = [name for name, weights in network.state_dict().items() if not torch.equal(weights, again[name])]
    assert {name.split(".")[0] for name in changed} == {"decoder", "head"}


def test_the_pretrained_segmenter_has_the_maps_of_the_classifier():
    """The stem and the blocks are in the order, and have the strides, of the package's own network."""
    segmenter = build(NetworkSpec(kind="efficientnet_lite0_unet"), 1).eval()
    classifier = build(NetworkSpec(kind="efficientnet_lite0"), 1).eval()
    seen = []
    segmenter.encoder.blocks[-1].register_forward_hook(lambda module, given, maps: seen.append(maps))
    classifier.network._blocks[-1].register_forward_hook(lambda module, given, maps: seen.append(maps))
    x = torch.rand(1, 3, 96, 96)
    with torch.inference_mode():
        segmenter(x), classifier(x)
    assert seen[0].shape == (1, 320, 3, 3) and torch.allclose(*seen, atol=1e-4)


@pytest.mark.parametrize("depth", [2, 4, 5])
def test_a_pretrained_encoder_narrowed(depth):
    network = build(NetworkSpec(kind="narrowed_lite0", width=16, depth=depth), 2).eval()
    assert network(torch.rand(1, 3, 64, 64)).shape == (1, 2, 32, 32)
    assert len(network.encoder.outputs) == depth == len(network.decoder) + 1
    network.train()
    for side, maps in zip(network.sides, network.encoder(torch.rand(4, 3, 64, 64))):
        assert side(maps).detach().std().item() == pytest.approx(1, abs=0.05)  # as the decoder's
    network.eval()
    drawn = torch.rand(1, 3, 64, 64, requires_grad=True)
    network(drawn).sum().backward()
    assert drawn.grad.abs().sum() > 0 and all(p.grad is not None for p in network.parameters())


def test_a_classifier_on_a_pretrained_encoder():
    network = build(NetworkSpec(kind="narrowed_lite0_classifier", width=16, narrowing_steps=2), 1).eval()
    assert network(torch.rand(2, 3, 64, 64)).shape == (2, 1)
    assert network.narrowing.outputs == 8
    segmenter = build(NetworkSpec(kind="narrowed_lite0", width=16), 2)
    with torch.no_grad():
        segmenter.encoder.blocks[3]._bn2.bias += 1  # it has learnt something
    load_encoder(network, segmenter.state_dict())
    x = torch.rand(1, 3, 64, 64)
    torch.testing.assert_close(network.encoder(x), segmenter.eval().encoder(x))
    with pytest.raises(ValueError, match="does not fit"):
        load_encoder(network, build(NetworkSpec(kind="narrowed_lite0", width=16, depth=3), 2).state_dict())


def test_what_networks_start_from():
    for kind in PRETRAINED:
        names = [name for name, _ in build(NetworkSpec(kind=kind), 1).named_modules()]
        assert any(name.endswith("_depthwise_conv") for name in names)  # as the package calls them
        assert "ImageNet" in origin(NetworkSpec(kind=kind))
    assert not any(origin(NetworkSpec(kind=kind)) for kind in ("lwbna", "narrow_classifier", "unet"))


@pytest.mark.parametrize(("knobs", "said"), [({"width": 24}, "multiple of 16"), ({"depth": 6}, "2 to 5")])
def test_a_pretrained_encoder_refuses_what_it_cannot_be(knobs, said):
    with pytest.raises(RecipeError, match=said):
        build(NetworkSpec(kind="narrowed_lite0", **knobs), 1)


def test_the_normalization_of_imagenet_is_in_the_first_convolution():
    """But for the border, where the padding differs."""
    with_it, folded = Lite0Encoder(1).stem.eval(), Lite0Encoder(1, device=True).stem.eval()
    x = torch.rand(1, 3, 32, 32)
    with torch.inference_mode():
        a, b = with_it(x), folded(x)
    assert torch.allclose(a[..., :-1, :-1], b[..., :-1, :-1], atol=1e-3)
    assert not torch.allclose(a, b, atol=0.1)


def test_describe_prints_the_size(capsys):
    assert main(["train", "--describe", "paper"]) == 0
    said = capsys.readouterr().out
    assert "2,954,211 trainable, 2,958,819 with BatchNorm" in said and "66.048 G" in said


def test_no_epochs_are_no_training(capsys):
    """0 once meant all of them."""
    assert main(["train", "--epochs", "0", "paper"]) == 2
    assert "--epochs is 0; give a number of at least 1" in capsys.readouterr().err
