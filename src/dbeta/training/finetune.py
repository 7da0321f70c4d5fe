"""Fine-tuning: trains the whole ECG encoder with a linear head on a benchmark's labels or on patient identity.

Recordings are prepared once into a memory-mapped file, so that the dataset is not read again in each epoch. The result
is an ordinary checkpoint that `dbeta.load` reads.
"""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import safe_open
from safetensors.torch import save_file
from sklearn.metrics import roc_auc_score
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits, cross_entropy, normalize
from torch.utils.data import Dataset
from transformers import EvalPrediction, PrinterCallback, Trainer, TrainingArguments

from dbeta.checkpoints.names import WEIGHTS_FILE
from dbeta.checkpoints.read import fastest_dtype
from dbeta.ecg import LEADS
from dbeta.errors import DBetaError
from dbeta.model.config import DBetaConfig
from dbeta.model.dual_encoder import DualEncoder, ECGTower
from dbeta.model.modeling import DBetaModel
from dbeta.model.processor import DBetaProcessor
from dbeta.training.settings import Amount, Count, Positive, Rate, ShareBelow1
from dbeta.training.settings import settings as checked_settings
from dbeta.training.trainer import last_checkpoint, remove_incomplete
from dbeta.utils.files import replacing
from dbeta.utils.notice import NOTICE

#: The lead sets of the PhysioNet/CinC Challenge 2021 (Reyna et al. 2021), and lead I alone.
LEAD_SETS: dict[int, tuple[str, ...]] = {
    12: LEADS,
    6: LEADS[:6],
    4: ("I", "II", "III", "V2"),
    3: ("I", "II", "V2"),
    2: ("I", "II"),
    1: ("I",),
}
HEAD_FILE = "head.safetensors"
DIVERGED = "fine-tuning diverged: the outputs are not finite; lower the learning rate"
#: Scale of the cosine between an embedding and a patient's weight vector.
PATIENT_SCALE = 16.0
#: Entry of `DBetaConfig.trained_on` for weights whose training data are partly unknown.
UNKNOWN = "unknown"


@checked_settings(frozen=True)
class Settings:
    """Settings of fine-tuning.

    Attributes:
        epochs: passes over the training records.
        batch_size: records per step.
        learning_rate: peak rate of the encoder, after a warm-up over a tenth of the steps and before cosine decay.
        head_rate: learning rate of the head, as a multiple of the encoder's.
        weight_decay: weight decay of AdamW.
        lead_dropout: probability that a lead is zeroed in training; at least one lead stays.
        seed: seed of the head's weights, the order of records and dropout.
    """

    epochs: Positive = 10
    batch_size: Positive = 64
    learning_rate: Rate = 1e-4
    head_rate: Amount = 10.0
    weight_decay: Amount = 0.01
    lead_dropout: ShareBelow1 = 0.0
    seed: Count = 0


class Classifier(nn.Module):
    """An ECG tower with a linear head.

    Args:
        tower: trainable ECG tower.
        classes: number of outputs.
        leads: (leads,) bool, the leads that the model gets; the others are zeroed.
        patients: whether outputs are patients, one per record, or labels.
        lead_dropout: see `Settings`.
    """

    def __init__(
        self, tower: ECGTower, classes: int, leads: Tensor, *, patients: bool = False, lead_dropout: float = 0.0
    ) -> None:
        """Build the classifier with a fresh head."""
        super().__init__()
        self.tower = tower
        self.head = nn.Linear(tower.ecg_proj.out_features, classes, bias=not patients)
        self.leads: Tensor
        self.register_buffer("leads", leads, persistent=False)
        self.patients = patients
        self.lead_dropout = lead_dropout

    def forward(self, ecg: Tensor, labels: Tensor | None = None) -> dict[str, Tensor]:
        """Logits (B, classes), and the loss if labels are given.

        Args:
            ecg: (B, leads, samples).
            labels: (B, classes) of 1, 0 and −1 for not annotated; or (B,) patient numbers.
        """
        keep = self.leads.expand(len(ecg), -1)
        if self.training and self.lead_dropout:
            drawn = torch.where(keep, torch.rand(keep.shape, device=keep.device), -1.0)
            # Keep at least one lead
            keep = (drawn >= self.lead_dropout) | (drawn == drawn.amax(dim=1, keepdim=True))
        embeds = self.tower(ecg.float() * keep[..., None])  # (B, D)
        if self.patients:
            logits = PATIENT_SCALE * normalize(embeds, dim=-1) @ normalize(self.head.weight, dim=-1).T
        else:
            logits = self.head(embeds)
        if labels is None:
            return {"logits": logits}
        if self.patients:
            return {"loss": cross_entropy(logits, labels), "logits": logits}
        known = (labels >= 0).float()
        losses = binary_cross_entropy_with_logits(logits, labels.clamp(min=0).float(), reduction="none")
        return {"loss": (losses * known).sum() / known.sum().clamp(min=1), "logits": logits}


class Recordings(Dataset):
    """Prepared recordings with their targets.

    Args:
        signals: (records, leads, samples) float16, memory-mapped.
        targets: targets of all records, as `Classifier` takes them.
        rows: indices of the records to use.
    """

    def __init__(self, signals: np.ndarray, targets: np.ndarray, rows: np.ndarray) -> None:
        """Store the arrays."""
        self.signals, self.targets, self.rows = signals, targets, rows

    def __len__(self) -> int:
        """Records."""
        return len(self.rows)

    def __getitem__(self, i: int) -> dict[str, np.ndarray]:
        """Return one record's `ecg` and `labels`."""
        row = self.rows[i]
        return {"ecg": np.asarray(self.signals[row]), "labels": self.targets[row]}


def load_trainable(model: DualEncoder | DBetaModel) -> ECGTower:
    """Load a trainable float32 copy of a model's ECG tower.

    It is read from the checkpoint again, since the inference tower has its weight norm folded and may be in bfloat16.
    """
    tower = ECGTower(model.config)
    if isinstance(model, DualEncoder):
        with safe_open(model.weights, framework="pt") as file:
            state = {name: file.get_tensor(name).float() for name in tower.state_dict()}
    else:
        state = {name: value.float() for name, value in model.state_dict().items() if name in tower.state_dict()}
    tower.load_state_dict(state)
    return tower


def lead_mask(config: DBetaConfig, count: int) -> Tensor:
    """Which of a model's leads are in a lead set: (leads,) bool.

    Raises:
        DBetaError: there is no lead set of this size.
    """
    if count not in LEAD_SETS:
        raise DBetaError(f"no lead set with {count} leads; choose from {', '.join(map(str, LEAD_SETS))}")
    return torch.tensor([lead in LEAD_SETS[count] for lead in config.leads])


def finetune(
    model: DualEncoder | DBetaModel,
    signals: np.ndarray,
    targets: np.ndarray,
    train: np.ndarray,
    validation: np.ndarray,
    work: Path,
    *,
    leads: int = 12,
    settings: Settings | None = None,
    patients: bool = False,
) -> Classifier:
    """Fine-tune a model's ECG encoder, keeping the epoch with the best validation result.

    Args:
        model: model to start from; not changed.
        signals: (records, leads, samples), as model input.
        targets: (records, classes) labels, or (records,) patient numbers.
        train: indices of the training records.
        validation: indices of the records that the epoch is chosen by: macro AUROC of labels, or loss for patients.
        work: folder for `Trainer`'s checkpoints; an interrupted run continues from them.
        leads: one of `LEAD_SETS`.
        settings: settings of the training.
        patients: whether the targets are patients.

    Raises:
        DBetaError: there is no lead set of this size, or the loss became NaN.
    """
    settings = settings or Settings()
    device_type = "cuda" if torch.cuda.is_available() else "cpu"
    steps = math.ceil(len(train) / settings.batch_size) * settings.epochs
    with torch.random.fork_rng():
        torch.manual_seed(settings.seed)
        classes = int(targets.max()) + 1 if patients else targets.shape[1]
        mask = lead_mask(model.config, leads)
        network = Classifier(
            load_trainable(model), classes, mask, patients=patients, lead_dropout=settings.lead_dropout
        )
    args = TrainingArguments(
        output_dir=str(work),
        num_train_epochs=settings.epochs,
        per_device_train_batch_size=settings.batch_size,
        per_device_eval_batch_size=settings.batch_size,
        learning_rate=settings.learning_rate,
        weight_decay=settings.weight_decay,
        lr_scheduler_type="cosine",
        warmup_steps=steps // 10,
        eval_strategy="epoch",
        save_strategy="epoch",
        save_total_limit=2,
        logging_strategy="epoch",
        load_best_model_at_end=True,
        metric_for_best_model="loss" if patients else "auroc",
        greater_is_better=not patients,
        bf16=fastest_dtype(torch.device(device_type)) == torch.bfloat16,
        use_cpu=device_type == "cpu",
        seed=settings.seed,
        report_to=[],
        remove_unused_columns=False,
        disable_tqdm=not sys.stderr.isatty(),
        dataloader_pin_memory=device_type == "cuda",
        label_names=["labels"],
        logging_nan_inf_filter=False,
    )
    rate = settings.learning_rate
    groups = [
        {"params": list(network.tower.parameters()), "lr": rate},
        {"params": list(network.head.parameters()), "lr": rate * settings.head_rate},
    ]
    trainer = Trainer(
        model=network,
        args=args,
        train_dataset=Recordings(signals, targets, train),
        eval_dataset=Recordings(signals, targets, validation),
        optimizers=(torch.optim.AdamW(groups, weight_decay=settings.weight_decay), None),
        compute_metrics=None if patients else _macro,
    )
    trainer.remove_callback(PrinterCallback)
    remove_incomplete(work)
    last = last_checkpoint(work)
    trainer.train(resume_from_checkpoint=None if last is None else str(last))
    losses = [entry["loss"] for entry in trainer.state.log_history if "loss" in entry]
    if not all(map(math.isfinite, losses)):
        raise DBetaError(DIVERGED)
    # Without the mixed precision of training, so that predictions equal those of the saved encoder
    return trainer.accelerator.unwrap_model(network, keep_fp32_wrapper=False).eval()


def _macro(prediction: EvalPrediction) -> dict[str, float]:
    labels, logits = np.asarray(prediction.label_ids), np.asarray(prediction.predictions)
    if not np.isfinite(logits).all():
        raise DBetaError(DIVERGED)
    values = [
        roc_auc_score(truth[truth >= 0], column[truth >= 0])
        for truth, column in zip(labels.T, logits.T, strict=True)
        if 0 < (truth == 1).sum() < (truth >= 0).sum()
    ]
    return {"auroc": float(np.mean(values)) if values else 0.5}


@torch.inference_mode()
def predict(network: Classifier, signals: np.ndarray, rows: np.ndarray, batch_size: int = 64) -> np.ndarray:
    """Compute logits of records: (rows, classes) float64."""
    device = next(network.parameters()).device
    batches = [rows[i : i + batch_size] for i in range(0, len(rows), batch_size)]
    found = [network(torch.from_numpy(np.asarray(signals[one])).to(device))["logits"] for one in batches]
    return torch.cat(found).double().cpu().numpy()


def save_encoder(
    network: Classifier,
    config: DBetaConfig,
    processor: DBetaProcessor,
    folder: Path,
    *,
    classes: Sequence[str],
    dataset: str,
    about: Mapping[str, Any],
) -> None:
    """Write the fine-tuned encoder as a checkpoint that `dbeta.load` reads, with its head beside it.

    Args:
        network: the fine-tuned network.
        config: configuration of the original model.
        processor: processor of the original model.
        folder: folder to write; replaced if it exists.
        classes: names of the head's classes.
        dataset: name of the dataset, which is added to `trained_on` in the configuration.
        about: facts for the model card.
    """
    before = config.trained_on
    seen = [*([UNKNOWN] if before is None else before), dataset]
    config = DBetaConfig.from_dict(config.to_dict() | {"parts": "ecg", "trained_on": sorted(set(seen))})
    leads = [lead for lead, there in zip(config.leads, network.leads.tolist(), strict=True) if there]
    with replacing(folder) as partial:
        partial.mkdir()
        config.save_pretrained(partial)
        processor.save_pretrained(partial)
        state = {name: value.detach().cpu().contiguous() for name, value in network.tower.state_dict().items()}
        save_file(state, partial / WEIGHTS_FILE, metadata={"format": "pt"})
        head = {name: value.detach().cpu().contiguous() for name, value in network.head.state_dict().items()}
        save_file(
            head, partial / HEAD_FILE, metadata={"classes": json.dumps(list(classes)), "leads": json.dumps(leads)}
        )
        lines = "\n".join(f"- {name}: {value}" for name, value in about.items())
        text = (
            f"# {folder.name}",
            f"An ECG encoder fine-tuned by `dbeta evaluate finetune`. {NOTICE}",
            lines,
            f"`{HEAD_FILE}` holds the linear head on its embedding, with the names of its classes and of the leads it "
            f"was trained with ({', '.join(leads)}); set the others to zero in its input.",
        )
        (partial / "README.md").write_text("\n\n".join(text) + "\n")
