import torch

from rodin_models.checkpoint import load_state, save_state
from rodin_models.image.attribute_classifier import (
    UNKNOWN,
    AttributeClassifier,
    ClassifierSettings,
    classifier_from_tree,
    classifier_tree,
    fit_classifier,
)

SETTINGS = ClassifierSettings((2, 3), side=16)


def people(num, generator):
    """Pictures whose first attribute is bright or dark, and whose second is which channel is brightest."""
    labels = torch.stack([torch.randint(n, (num,), generator=generator) for n in SETTINGS.classes], 1)
    pictures = 0.1 * torch.rand((num, 3, 16, 16), generator=generator)
    pictures += 0.4 * labels[:, 0].view(-1, 1, 1, 1)
    pictures[torch.arange(num), labels[:, 1]] += 0.4
    return pictures, labels


def test_it_learns_what_is_seen_and_leaves_out_what_has_no_label():
    generator = torch.Generator().manual_seed(0)
    pictures, labels = people(256, generator)
    known = labels.clone()
    known[::2, 1] = UNKNOWN
    epochs = []
    model = fit_classifier(pictures, known, SETTINGS, generator, epochs=6, progress=epochs.append)
    assert epochs == [1, 2, 3, 4, 5, 6] and not model.training
    unseen, truth = people(64, generator)
    assert (model.predict(unseen) == truth).float().mean() > 0.95


def test_larger_pictures_are_made_smaller_and_weights_survive_a_file(tmp_path):
    model = AttributeClassifier(SETTINGS, torch.Generator().manual_seed(0)).eval()
    pictures, _ = people(5, torch.Generator().manual_seed(1))
    large = torch.nn.functional.interpolate(pictures, scale_factor=2, mode="nearest")
    assert model.predict(large).shape == (5, 2)
    folder = tmp_path / "state"
    folder.mkdir()
    save_state(folder, classifier_tree(model))
    again = classifier_from_tree(load_state(folder))
    for first, second in zip(model(pictures), again(pictures), strict=True):
        assert first.equal(second)


def test_a_batch_without_any_label_of_an_attribute_is_learned_from():
    generator = torch.Generator().manual_seed(0)
    pictures, labels = people(8, generator)
    labels[:, 1] = UNKNOWN
    model = fit_classifier(pictures, labels, SETTINGS, generator, epochs=1)
    assert all(p.isfinite().all() for p in model.parameters())
