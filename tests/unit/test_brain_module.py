"""The brain module: sizes of the paper, which layers are whose, where time is merged."""

import pytest
import torch

from boldvision.decoders.dynadiff.brain_module import BrainModule, TimestepLinear
from boldvision.decoders.dynadiff.settings import BrainModule as Settings
from boldvision.errors import UserError

VOXELS = {"subj01": 7, "subj02": 5}


def small(n_tr=3, voxels=VOXELS, **settings):
    torch.manual_seed(0)
    return BrainModule(voxels, n_tr, 4, 8, Settings(hidden=6, **settings)).eval()


def windows(batch, subject="subj01", n_tr=3):
    return subject, torch.randn(batch, n_tr, VOXELS[subject])


def test_full_size_has_the_parameters_of_the_reference():
    with torch.device("meta"):
        module = BrainModule({"subj01": 15724}, 6, 257, 768, Settings())

    def count(part):
        return sum(parameter.numel() for parameter in part.parameters())

    assert count(module.subject_layers) == 15724 * 1552  # 24.4 M
    assert count(module.timestep_layers) == 6 * (1552 * 1552 + 1552)  # 14.5 M
    assert count(module.merge_time) == 7
    assert count(module.output) == 1553 * 257 * 768  # 306.5 M
    assert round(count(module) / 1e6, 1) == 345.4
    tokens = module([("subj01", torch.empty(2, 6, 15724, device="meta"))])
    assert tokens.shape == (2, 257, 768)


def test_groups_of_subjects_come_out_in_their_order():
    module = small()
    first, second = windows(2, "subj02"), windows(3, "subj01")
    together = module([first, second])
    assert together.shape == (5, 4, 8)
    torch.testing.assert_close(together[:2], module([first]))
    torch.testing.assert_close(together[2:], module([second]))


@pytest.mark.parametrize(("shown", "other"), [("subj01", "subj02"), ("subj02", "subj01")])
def test_subject_and_timestep_layers_are_the_subjects_own(shown, other):
    module = small()
    module([windows(2, shown)]).sum().backward()
    for name, parameter in module.named_parameters():
        used = parameter.grad is not None
        assert used == (other not in name), name


@pytest.mark.parametrize("voxels", [100, 1600])
def test_subject_layer_begins_with_std_one_over_root_of_voxels(voxels):
    module = BrainModule({"s": voxels}, 1, 1, 1, Settings(hidden=400))
    weight = module.subject_layers["s"].weight
    assert weight.std().item() == pytest.approx(voxels**-0.5, rel=0.02)
    assert module.subject_layers["s"].bias is None


def test_time_is_merged_after_the_timestep_layers_or_before():
    for aggregation, layers in (("out", 3), ("in", 1)):
        module = small(aggregation=aggregation)
        assert len(module.timestep_layers["subj01"].layers) == layers
        assert module([windows(2)]).shape == (2, 4, 8)


def test_aggregation_out_weighs_samples_of_the_block():
    module = small()
    subject, bold = windows(2)
    hidden = [
        module.block(module.timestep_layers[subject].layers[t](module.subject_layers[subject](x)))
        for t, x in enumerate(bold.unbind(1))
    ]
    weights = module.merge_time.weight[0]
    merged = sum(w * h for w, h in zip(weights, hidden, strict=True)) + module.merge_time.bias
    torch.testing.assert_close(
        module([(subject, bold)]), module.output(merged).unflatten(-1, (4, 8))
    )


def test_aggregation_in_merges_before_the_timestep_layer():
    module = small(aggregation="in")
    subject, bold = windows(2)
    weights = module.merge_time.weight[0]
    projected = module.subject_layers[subject](bold)
    merged = torch.einsum("t,btd->bd", weights, projected) + module.merge_time.bias
    hidden = module.block(module.timestep_layers[subject].layers[0](merged))
    torch.testing.assert_close(
        module([(subject, bold)]), module.output(hidden).unflatten(-1, (4, 8))
    )


def test_one_timestep_layer_for_all_samples():
    shared = TimestepLinear(3, 6, shared=True)
    x = torch.randn(2, 3, 6)
    torch.testing.assert_close(shared(x)[:, 2], shared(x[:, 2:])[:, 0])
    own = TimestepLinear(3, 6, shared=False)
    assert not torch.allclose(
        own(x[:, :1].expand(-1, 3, -1))[:, 0], own(x[:, :1].expand(-1, 3, -1))[:, 2]
    )
    assert len(small(timestep_layers="shared").timestep_layers["subj01"].layers) == 1


def test_betas_need_neither_timestep_layers_nor_aggregation():
    settings = {"timestep_layers": "none", "aggregation": "none"}
    module = small(n_tr=1, **settings)
    assert not list(module.timestep_layers.parameters())
    assert not hasattr(module, "merge_time")
    subject, bold = windows(2, n_tr=1)
    hidden = module.block(module.subject_layers[subject](bold[:, 0]))
    torch.testing.assert_close(
        module([(subject, bold)]), module.output(hidden).unflatten(-1, (4, 8))
    )
    with pytest.raises(UserError, match="expected windows of one sample, found 3"):
        small(n_tr=3, **settings)


def test_dropout_is_on_in_training_only():
    module = small(dropout=0.5)
    group = [windows(4)]
    assert torch.equal(module(group), module(group))
    module.train()
    assert not torch.equal(module(group), module(group))
