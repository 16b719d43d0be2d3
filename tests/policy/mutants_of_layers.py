"""Mutants of layers that compute faster than those of transformers and torch."""

from mutant import Mutant

MUTANTS = (
    Mutant(
        "vision: images of a size in another order",
        "policy/vision_tower.py",
        "for start in sorted(found)",
        "for start in found",
        "policy/test_vision_tower.py",
    ),
    Mutant(
        "vision: a larger input is one patch",
        "policy/vision_tower.py",
        "tuple(input.shape[2:]) != self.kernel_size",
        "False",
        "policy/test_vision_tower.py",
    ),
    Mutant(
        "norm: eps is forgotten",
        "policy/rms_norm.py",
        "torch.addcmul(_scalar(eps), norm, norm",
        "torch.addcmul(_scalar(0.0), norm, norm",
        "policy/test_rms_norm.py",
    ),
    Mutant(
        "norm: the gradient leaves out that of the root mean square",
        "policy/rms_norm.py",
        ".sub_(normed.mul_(mean))",
        "",
        "policy/test_rms_norm.py",
    ),
    Mutant(
        "norm: the mean of the gradient is not weighted",
        "policy/rms_norm.py",
        "product @ weight",
        "product.sum(-1)",
        "policy/test_rms_norm.py",
    ),
    Mutant(
        "norm: Gemma's norms are swapped",
        "policy/rms_norm.py",
        'hasattr(module, "variance_epsilon")',
        "True",
        "policy/test_rms_norm.py",
    ),
    Mutant(
        "norm: autocast is not respected",
        "policy/rms_norm.py",
        'or torch.is_autocast_enabled("cpu")',
        "",
        "policy/test_rms_norm.py",
    ),
    Mutant(
        "norm: a pickled class is not found again",
        "policy/rms_norm.py",
        "def __reduce__",
        "def other_reduce",
        "policy/test_rms_norm.py",
    ),
)
