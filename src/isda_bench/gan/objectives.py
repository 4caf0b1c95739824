"""The objectives of generator and critic: one class a paper.

D is the critic's logit of "real", f WGAN's critic, x real and G(z) generated images, y classes, z noise.
softplus(-D) = -log sigmoid(D) and softplus(D) = -log(1 - sigmoid(D)). Generators take the form that does not
saturate (Goodfellow et al. 2014, section 3): they maximise log sigmoid(D) where the minimax game has them
minimise log(1 - sigmoid(D)).
"""

from typing import Annotated

import torch
from pydantic import Field, PositiveFloat, PositiveInt
from torch import Tensor
from torch.nn import functional as F
from torch.optim import Adam, Optimizer, RMSprop

from isda_bench.arguments import checked
from isda_bench.gan.base import Gan
from isda_bench.gan.networks import Critic, Generator
from isda_bench.models.base import Rate

LEAST_VARIANCE = 1e-6
"""Of the posterior of a code; a smaller one counts as this."""


class WGAN(Gan):
    """Wasserstein GAN (Arjovsky et al. 2017, "Wasserstein GAN", Algorithm 1 and its defaults).

    Critic:    min over f   mean f(G(z)) - mean f(x),   every weight clipped to [-clip, clip] after each step
    Generator: min over G   -mean f(G(z))

    Args:
        num_classes, in_channels, image_size: of the data set.
        per_class: one generator and critic for each class, all trained at once; false: one for all images,
            which then have no wanted class.
        learning_rate: of both, by RMSprop.
        clip: c.
        critic_steps: n_critic.
        width: channels, as in `Generator` and `Critic`.
    """

    @checked
    def __init__(
        self,
        num_classes: PositiveInt,
        in_channels: PositiveInt,
        image_size: PositiveInt,
        per_class: bool = True,
        learning_rate: PositiveFloat = 5e-5,
        clip: PositiveFloat = 0.01,
        critic_steps: PositiveInt = 5,
        width: PositiveInt = 64,
    ) -> None:
        super().__init__(num_classes)
        sizes = (num_classes, in_channels, image_size, width)
        self.generator = Generator(*sizes, per_class=per_class)
        self.critic = Critic(*sizes, per_class=per_class)
        self.learning_rate = learning_rate
        self.clip = clip
        self.critic_steps = critic_steps

    def critic_loss(self, images: Tensor, labels: Tensor) -> Tensor:
        """The mean f(G(z)) - mean f(x), of each class."""
        with torch.no_grad():
            fakes = self.generator(self.noise(len(images)))
        return (self.critic(fakes).score - self.critic(images).score).mean(0)

    def generator_loss(self, n: int) -> Tensor:
        """-mean f(G(z)), of each class."""
        return -self.critic(self.generator(self.noise(n))).score.mean(0)

    def optimizers(self) -> tuple[Optimizer, Optimizer]:
        """RMSprop: the paper found momentum to make the critic's training unstable."""
        rate = self.learning_rate
        return RMSprop(self.critic.parameters(), rate), RMSprop(self.generator.parameters(), rate)

    @torch.no_grad()
    def after_critic_step(self) -> None:
        """Clips: w <- clip(w, -c, c)."""
        for parameter in self.critic.parameters():
            parameter.clamp_(-self.clip, self.clip)


class _Labelled(Gan):
    """The common part of kinds with one network for all classes: the class is an input; Adam."""

    learning_rate: float
    generator_learning_rate: float
    beta1: float

    def optimizers(self) -> tuple[Optimizer, Optimizer]:
        """Adam with beta_2 = 0.999."""
        betas = (self.beta1, 0.999)
        critic = Adam(self.critic.parameters(), self.learning_rate, betas)
        return critic, Adam(self.generator.parameters(), self.generator_learning_rate, betas)

    def draw(self, n: int) -> tuple[Tensor, Tensor, Tensor]:
        """Generated images (n, 1, channels, H, W), their classes (n,) and codes (n, codes)."""
        labels = self.labels(n)
        codes = 2 * torch.rand(n, self.generator.codes, device=self._device) - 1
        return (
            self.generator(self.generator.concatenate_inputs(self.noise(n)[:, 0], labels, codes)),
            labels,
            codes,
        )


class CGAN(_Labelled):
    """Conditional GAN (Mirza and Osindero 2014, "Conditional Generative Adversarial Nets", Eq. 2).

    Critic:    min over D   mean softplus(-D(x, y)) + mean softplus(D(G(z, y), y))
    Generator: min over G   mean softplus(-D(G(z, y), y))

    The class is an input of both. Adam and its values are DCGAN's: the paper's own networks are perceptrons.

    Args:
        num_classes, in_channels, image_size: of the data set.
        learning_rate, beta1: of Adam.
        width: channels, as in `Generator` and `Critic`.
        dropout: of the critic.
    """

    @checked
    def __init__(
        self,
        num_classes: PositiveInt,
        in_channels: PositiveInt,
        image_size: PositiveInt,
        learning_rate: PositiveFloat = 2e-4,
        beta1: Rate = 0.5,
        width: PositiveInt = 64,
        dropout: Rate = 0.0,
    ) -> None:
        super().__init__(num_classes)
        sizes = (num_classes, in_channels, image_size, width)
        self.generator = Generator(*sizes, conditional=True)
        self.critic = Critic(*sizes, conditional=True, dropout=dropout)
        self.learning_rate = self.generator_learning_rate = learning_rate
        self.beta1 = beta1

    def critic_loss(self, images: Tensor, labels: Tensor) -> Tensor:
        """The sum: mean softplus(-D(x, y)) + mean softplus(D(G(z, y), y))."""
        with torch.no_grad():
            fakes, wanted, _ = self.draw(len(images))
        return _source_loss(self.critic(images, labels).score, self.critic(fakes, wanted).score)

    def generator_loss(self, n: int) -> Tensor:
        """The mean softplus(-D(G(z, y), y))."""
        fakes, wanted, _ = self.draw(n)
        return F.softplus(-self.critic(fakes, wanted).score).mean(0)


class ACGAN(_Labelled):
    """Auxiliary classifier GAN (Odena et al. 2017, "Conditional Image Synthesis with ...", Eq. 2-3).

    With CE(x, y) the cross-entropy of the critic's second head, which classifies:
    Critic:    min over D   mean softplus(-D(x)) + mean softplus(D(G(z, y)))
                            + mean CE(x, y) + mean CE(G(z, y), y)
    Generator: min over G   mean softplus(-D(G(z, y))) + mean CE(G(z, y), y)

    Args:
        num_classes, in_channels, image_size: of the data set.
        learning_rate, beta1: of Adam.
        width: channels, as in `Generator` and `Critic`.
        dropout: of the critic.
    """

    @checked
    def __init__(
        self,
        num_classes: PositiveInt,
        in_channels: PositiveInt,
        image_size: PositiveInt,
        learning_rate: PositiveFloat = 2e-4,
        beta1: Rate = 0.5,
        width: PositiveInt = 64,
        dropout: Rate = 0.5,
    ) -> None:
        super().__init__(num_classes)
        sizes = (num_classes, in_channels, image_size, width)
        self.generator = Generator(*sizes, conditional=True)
        self.critic = Critic(*sizes, classifies=True, dropout=dropout)
        self.learning_rate = self.generator_learning_rate = learning_rate
        self.beta1 = beta1

    def critic_loss(self, images: Tensor, labels: Tensor) -> Tensor:
        """The source's loss, and the class's on real and on generated images."""
        with torch.no_grad():
            fakes, wanted, _ = self.draw(len(images))
        real, fake = self.critic(images), self.critic(fakes)
        classes = F.cross_entropy(real.classes, labels) + F.cross_entropy(fake.classes, wanted)
        return _source_loss(real.score, fake.score) + classes

    def generator_loss(self, n: int) -> Tensor:
        """The sum: mean softplus(-D(G(z, y))) + mean CE(G(z, y), y)."""
        fakes, wanted, _ = self.draw(n)
        fake = self.critic(fakes)
        return F.softplus(-fake.score).mean(0) + F.cross_entropy(fake.classes, wanted)


class InfoGAN(_Labelled):
    """infoGAN (Chen et al. 2016, "InfoGAN: Interpretable Representation Learning ...", Eq. 5-6).

    The class y is the categorical code, c two continuous ones, uniform in [-1, 1]. Q, the critic's further
    heads, gives the posterior: logits of the class, mean and variance of a normal density of c. The bound of
    the mutual information, maximised by Q and G, is the negative of (constants left out)
        I(G(z, y, c)) = mean CE(G(z, y, c), y) + code_weight mean -log q(c)
    Critic:    min over D, Q   mean softplus(-D(x)) + mean softplus(D(G(z, y, c)))
                               + I(G(z, y, c)) + mean CE(x, y)
    Generator: min over G      mean softplus(-D(G(z, y, c))) + I(G(z, y, c))
    The critic's last term is ours: it makes the categorical code the label, where that of the original,
    trained without labels, has no given meaning.

    Args:
        num_classes, in_channels, image_size: of the data set.
        codes: number of continuous codes.
        code_weight: lambda of the continuous codes; that of the class is 1.
        learning_rate, beta1: of Adam.
        generator_learning_rate: of the generator's Adam.
        width: channels, as in `Generator` and `Critic`.
        dropout: of the critic.
    """

    @checked
    def __init__(
        self,
        num_classes: PositiveInt,
        in_channels: PositiveInt,
        image_size: PositiveInt,
        codes: PositiveInt = 2,
        code_weight: Annotated[float, Field(ge=0)] = 0.1,
        learning_rate: PositiveFloat = 2e-4,
        generator_learning_rate: PositiveFloat = 1e-3,
        beta1: Rate = 0.5,
        width: PositiveInt = 64,
        dropout: Rate = 0.0,
    ) -> None:
        super().__init__(num_classes)
        sizes = (num_classes, in_channels, image_size, width)
        self.generator = Generator(*sizes, conditional=True, codes=codes)
        self.critic = Critic(*sizes, classifies=True, codes=codes, dropout=dropout)
        self.code_weight = code_weight
        self.learning_rate = learning_rate
        self.generator_learning_rate = generator_learning_rate
        self.beta1 = beta1

    def critic_loss(self, images: Tensor, labels: Tensor) -> Tensor:
        """The source's loss, the information's, and the class's on real images."""
        with torch.no_grad():
            fakes, wanted, codes = self.draw(len(images))
        real, fake = self.critic(images), self.critic(fakes)
        classes = F.cross_entropy(real.classes, labels) + F.cross_entropy(fake.classes, wanted)
        return _source_loss(real.score, fake.score) + classes + self._codes_loss(fake.codes, codes)

    def generator_loss(self, n: int) -> Tensor:
        """The sum: mean softplus(-D(G(z, y, c))) + I(G(z, y, c))."""
        fakes, wanted, codes = self.draw(n)
        fake = self.critic(fakes)
        information = F.cross_entropy(fake.classes, wanted) + self._codes_loss(fake.codes, codes)
        return F.softplus(-fake.score).mean(0) + information

    def _codes_loss(self, posterior: Tensor, codes: Tensor) -> Tensor:
        """code_weight mean -log q(c), the sum over the codes; less its constant."""
        mean, log_variance = posterior.unbind(1)
        return self.code_weight * gaussian_nll(mean, codes, log_variance.exp()) * codes.shape[1]


def gaussian_nll(mean: Tensor, values: Tensor, variance: Tensor) -> Tensor:
    """The mean -log density of `values` under normal densities, less its constant; all of one shape.

    These are the numbers of `F.gaussian_nll_loss`, which looks at every variance: on CUDA it waits for them.
    """
    variance = variance.clone()
    with torch.no_grad():
        variance.clamp_(min=LEAST_VARIANCE)
    return (0.5 * (variance.log() + (mean - values) ** 2 / variance)).mean()


def _source_loss(real: Tensor, fake: Tensor) -> Tensor:
    """The sum: mean softplus(-D(real)) + mean softplus(D(fake)), (G,)."""
    return F.softplus(-real).mean(0) + F.softplus(fake).mean(0)
