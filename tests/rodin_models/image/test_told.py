"""What text latents tell: the loss by hand, and that a text encoder learns it."""

import torch
import torch.nn.functional as F

from rodin_models.image.attribute_classifier import UNKNOWN
from rodin_models.image.clip import ClipSettings, Sentences, build_clip, build_tokenizer, tokenize, training_loss
from rodin_models.image.told import SCALE, Told

SENTENCES = ["a man in red", "a man in blue", "a woman in red", "a woman in blue"]
ANSWERS = torch.tensor([[0, 0], [0, 1], [1, 0], [1, 1]])
TINY = ClipSettings(
    image_size=8, patch_size=4, vision_width=16, vision_layers=1, vision_heads=2, text_width=16, text_layers=1,
    text_heads=2, latent_dim=8, vocab_size=300, max_tokens=12,
)  # fmt: skip


def test_the_loss_is_the_sum_of_cross_entropies_of_known_answers() -> None:
    generator = torch.Generator().manual_seed(0)
    told = Told(5, (3, 2))
    texts = F.normalize(torch.randn(4, 5, generator=generator), dim=-1)
    answers = torch.tensor([[0, 1], [2, UNKNOWN], [UNKNOWN, UNKNOWN], [1, 0]])
    logits = SCALE * texts @ told.answers.weight.T + told.answers.bias
    by_hand = [
        -torch.log_softmax(logits[row, :3] if column == 0 else logits[row, 3:], -1)[answer]
        for row, of in enumerate(answers.tolist())
        for column, answer in enumerate(of)
        if answer != UNKNOWN
    ]
    torch.testing.assert_close(told.loss(texts, answers), torch.stack(by_hand).sum() / 4)


def test_a_locked_clip_learns_what_sentences_tell_and_sees_as_before() -> None:
    generator = torch.Generator().manual_seed(1)
    clip, tokenizer = build_clip(TINY, generator), build_tokenizer(TINY, SENTENCES)
    clip.lock_image()
    clip.add_told((2, 2), generator)
    before = {name: weight.clone() for name, weight in clip.state_dict().items()}
    tokens = tokenize(tokenizer, SENTENCES)
    learning = [parameter for parameter in clip.parameters() if parameter.requires_grad]
    optimiser = torch.optim.AdamW(learning, 3e-3)
    rgb = torch.rand(4, 3, 8, 8, generator=generator)
    losses = []
    for _ in range(150):
        loss = training_loss(clip, rgb, tokens, generator, sentences=Sentences(tokens, ANSWERS, 1.0))
        optimiser.zero_grad()
        loss["loss"].backward()
        optimiser.step()
        losses.append(float(loss["told"].detach()))
    assert losses[-1] < 0.2 < 1.0 < losses[0]
    after = clip.state_dict()
    changed = {name for name, weight in before.items() if not weight.equal(after[name])}
    assert changed and all("text" in name or name.startswith("told") for name in changed)
