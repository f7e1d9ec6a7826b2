"""Every configuration key, typed and explained: the one tree that train.py, retrain.py and test.py share.

Attributes are lower case in Python (`config.search.board.size`) and upper case in YAML and on the command line
(`SEARCH.BOARD.SIZE=10`). The tree is frozen; a component takes its own slice of it, never the whole.
"""

from __future__ import annotations

import math
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationInfo, field_validator, model_validator

Fraction = Annotated[float, Field(ge=0.0, lt=1.0)]
Probability = Annotated[float, Field(ge=0.0, le=1.0)]
Positive = Annotated[int, Field(ge=1)]
Count = Annotated[int, Field(ge=0)]
NonNegative = Annotated[float, Field(ge=0.0)]
Area = Annotated[float, Field(gt=0.0, le=1.0)]
Aspect = Annotated[float, Field(gt=0.0)]


def _ordered(bounds: tuple[float, float]) -> tuple[float, float]:
    if bounds[0] > bounds[1]:
        raise ValueError("write the smallest first")
    return bounds


class Section(BaseModel):
    """A frozen group of keys; unknown keys are refused, and numbers that are not finite."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", alias_generator=str.upper, validate_default=True, allow_inf_nan=False
    )

    @field_validator("*", mode="before")
    @classmethod
    def _refuse_truth_values(cls, value: Any, info: ValidationInfo) -> Any:
        """pydantic would read `true` as the number 1."""
        if isinstance(value, bool) and cls.model_fields[str(info.field_name)].annotation is not bool:
            raise ValueError("a truth value is no number and no text")
        return value


class Augment(Section):
    """Training-time augmentation. `CROP_PADDING` serves small images, `SCALE` and `RATIO` large ones."""

    flip: Probability = Field(0.5, description="probability of a horizontal flip")
    crop_padding: Count = Field(0, description="pad by this many pixels and crop back at random; 0: no padded crop")
    scale: Annotated[tuple[Area, Area], AfterValidator(_ordered)] | None = Field(
        (0.08, 1.0), description="area range of the random resized crop; null: no resized crop"
    )
    ratio: Annotated[tuple[Aspect, Aspect], AfterValidator(_ordered)] = Field(
        (0.75, 1.3333333), description="aspect range of the random resized crop"
    )
    color_jitter: NonNegative = Field(0.4, description="brightness, contrast and saturation jitter (image folders)")
    policy: str = Field("", description="timm's auto-augment policy, such as rand-m9-mstd0.5 (image folders); '': none")
    erasing: Probability = Field(0.0, description="probability of random erasing")
    erasing_mode: Literal["const", "pixel"] = Field(
        "const", description="an erased box becomes the mean colour, or normal noise in each pixel and channel (Cream)"
    )
    mixup: NonNegative = Field(0.0, description="mixup alpha; 0: off")
    cutmix: NonNegative = Field(0.0, description="cutmix alpha; 0: off")


class Data(Section):
    """Images on disk and how they become batches."""

    name: Literal["image_folder", "cifar10", "cifar100", "fashion_mnist", "digits"] = Field(
        "image_folder", description="image_folder reads PATH/train/<class>/* and PATH/val or PATH/test"
    )
    path: str = Field("./data/imagenet", description="folder of the data set (digits needs none)")
    image_size: Annotated[int, Field(ge=8, le=8192)] | None = Field(
        None, description="height and width in pixels; null: the resolution of the space or of the selected network"
    )
    loader: Literal["auto", "resident", "workers"] = Field(
        "auto",
        description="resident: decoded once, kept and augmented on the device; workers: DataLoader processes; "
        "auto: resident for the small named sets, workers for image folders",
    )
    workers: Annotated[int, Field(ge=0, le=1024)] = Field(
        4, description="DataLoader processes for each rank; 0: load in the main process"
    )
    unreadable_limit: Probability = Field(
        0.01,
        description="share of a split's images that may be unreadable: they are named and replaced by others; "
        "nine may always, unless it is 0",
    )
    search_fraction: Fraction = Field(
        0.1, description="share of the training images held out, by SPLIT_SEED, as the search split"
    )
    split_seed: Count | None = Field(
        None, description="what is held out, and the halves of the test images, are drawn by this; null: by SEED"
    )
    split_file: str = Field(
        "", description="JSON of what is held out, or of the test images' halves, as NAS-Bench-201 published; '': none"
    )
    mean: tuple[Probability, ...] | None = Field(None, description="channel means in [0, 1]; null: the data set's own")
    std: tuple[Area, ...] | None = Field(None, description="channel deviations in [0, 1]; null: the data set's own")
    interpolation: Literal["bilinear", "bicubic"] = Field("bicubic", description="resizing filter")
    crop_fraction: Annotated[float, Field(gt=0.0, le=1.0)] = Field(
        0.875, description="evaluation keeps this central share of each side after resizing (image folders)"
    )
    augment: Augment = Field(default_factory=Augment, description="training-time augmentation")


class Train(Section):
    """How weights are trained: the supernet's in train.py, the network's in retrain.py."""

    epochs: Positive = Field(120, description="passes over the train split")
    steps_per_epoch: Positive | None = Field(None, description="stop each epoch after this many steps; null: all")
    across_epochs: bool = Field(
        False,
        description="the images that an epoch's whole batches leave over begin the next epoch's first batch; false: "
        "they are dropped. Steps in all: floor(epochs x images / batch)",
    )
    seconds: NonNegative = Field(
        0.0,
        description="stop after the step at which the run has taken so long, evaluations with it, and save "
        "(retrain.py); 0: no limit",
    )
    intermediate_evaluations: tuple[Annotated[float, Field(gt=0.0, lt=1.0)], ...] | None = Field(
        None,
        description="evaluate at the start, after these shares of all steps and at the end, on all three splits, test "
        "with them, as NAS-Bench-101 does (retrain.py); null or []: after each epoch, on the search split",
    )
    trial: bool = Field(
        False,
        description="measure the step's own training images, and after each epoch all others, test with them, and "
        "write SAVE_PATH/trial.json, as NAS-Bench-201 does with its cells (retrain.py)",
    )
    batch_size: Positive = Field(128, description="images of a step, or of each of its micro-batches, on each process")
    accumulation: Positive = Field(
        1, description="micro-batches of BATCH_SIZE images whose mean gradient makes one step (retrain.py)"
    )
    evaluation_batch_size: Positive = Field(256, description="images in an evaluation batch on each process")
    optimizer: Literal["sgd", "rmsproptf", "adamw"] = Field("sgd", description="all from timm or torch")
    lr: Annotated[float, Field(gt=0.0)] = Field(1.0, description="peak learning rate, for the whole global batch")
    momentum: Fraction = Field(0.9, description="momentum of sgd and rmsproptf")
    nesterov: bool = Field(True, description="sgd: Nesterov's momentum; false: the plain one")
    rmsprop_decay: Fraction = Field(0.9, description="decay of rmsproptf's mean square, which starts at 1")
    eps: Annotated[float, Field(gt=0.0)] = Field(1e-3, description="epsilon of rmsproptf (inside the root) and adamw")
    weight_decay: NonNegative = Field(1e-4, description="decay of weights (L2 but for adamw)")
    decay_norms: bool = Field(False, description="decay batch norm and biases as well")
    schedule: Literal["linear", "cosine", "cosine_by_step", "step", "constant"] = Field(
        "linear",
        description="shape of the decay; cosine_by_step is at MIN_LR in the last step, linear and cosine one after it",
    )
    min_lr: NonNegative = Field(0.0, description="learning rate that linear, cosine and cosine_by_step decay towards")
    warmup_epochs: NonNegative = Field(0.0, description="epochs of linear warm-up; fractions are allowed")
    warmup_lr: NonNegative = Field(1e-6, description="learning rate at the first step of the warm-up")
    decay_epochs: Annotated[float, Field(gt=0.0)] = Field(2.4, description="step schedule: epochs between two decays")
    decay_rate: Annotated[float, Field(gt=0.0, le=1.0)] = Field(0.973, description="step schedule: factor of a decay")
    label_smoothing: Fraction = Field(0.1, description="label smoothing of the cross entropy")
    clip_gradient: NonNegative = Field(0.0, description="largest gradient norm; 0: no clipping")
    max_bad_steps: Positive = Field(
        10, description="stop after so many steps in a row whose loss or gradients are not finite; each is skipped"
    )
    ema_decay: Fraction = Field(0.0, description="decay of the averaged weights (retrain.py); 0: none are kept")
    dropout: Fraction = Field(0.0, description="dropout before the classifier (retrain.py)")
    drop_path: Fraction = Field(
        0.0,
        description="stochastic depth of the last block, linear from 0 (retrain.py); of nasnet an edge's of the last "
        "cell, linear from 0 over the training too",
    )
    auxiliary_weight: NonNegative = Field(
        0.0,
        description="weight of the auxiliary head's loss, of networks that have one: nasnet's (retrain.py); 0: none",
    )
    inherit: str = Field(
        "", description="retrain.py starts from the weights of this supernet: a checkpoint or the folder of a search"
    )

    @model_validator(mode="after")
    def _check_steps(self) -> Train:
        if self.across_epochs and self.steps_per_epoch is not None:
            raise ValueError(
                f"TRAIN.ACROSS_EPOCHS runs through all images, TRAIN.STEPS_PER_EPOCH={self.steps_per_epoch} stops "
                "before: remove one of the two"
            )
        return self

    @model_validator(mode="after")
    def _check_trial(self) -> Train:
        if self.trial and self.intermediate_evaluations:
            raise ValueError(
                "TRAIN.TRIAL is NAS-Bench-201's way to evaluate, TRAIN.INTERMEDIATE_EVALUATIONS NAS-Bench-101's: "
                "remove one of the two"
            )
        return self

    @field_validator("intermediate_evaluations")
    @classmethod
    def _ascending(cls, value: tuple[float, ...] | None) -> tuple[float, ...] | None:
        if value is not None and list(value) != sorted(set(value)):
            raise ValueError("list the shares in ascending order, each only once")
        return value


class Supernet(Section):
    """What is searched and how weights are shared."""

    space: str = Field("cream", description="a space's name (configs/spaces) or the path of your own YAML file")
    encoding: Literal["superkernel", "separate"] = Field(
        "superkernel",
        description="superkernel: the largest kernel and expansion hold the smaller (Single-Path NAS); "
        "separate: each operation has its own weights (Cream)",
    )
    resolutions: tuple[Annotated[int, Field(ge=8, le=8192)], ...] | None = Field(
        None,
        description="image sizes in pixels that the search chooses from, beside the architecture; null: one, "
        "DATA.IMAGE_SIZE or the space's. Images are loaded at the largest that can be used",
    )

    @field_validator("resolutions")
    @classmethod
    def _distinct(cls, value: tuple[int, ...] | None) -> tuple[int, ...] | None:
        if value is not None and (not value or len(set(value)) < len(value)):
            raise ValueError("list at least one image size, and each only once")
        return value


class NasBench101(Section):
    """The network around a cell of NAS-Bench-101 (MODEL_SELECTION nasbench101/…)."""

    stem_filter_size: Annotated[int, Field(ge=1, le=16384)] = Field(128, description="output channels of the stem")
    num_stacks: Annotated[int, Field(ge=1, le=16)] = Field(
        3, description="stacks of cells; each but the first halves the images and doubles the channels"
    )
    num_modules_per_stack: Annotated[int, Field(ge=1, le=64)] = Field(3, description="cells of a stack")


class NasBench201(Section):
    """The network around a cell of NAS-Bench-201 (MODEL_SELECTION nasbench201/…, SUPERNET.SPACE nasbench201)."""

    stem_channels: Annotated[int, Field(ge=1, le=16384)] = Field(16, description="output channels of the stem")
    num_cells: Annotated[int, Field(ge=1, le=64)] = Field(5, description="cells of each of the three stages")


class NasNet(Section):
    """The network around NASNet's cells (MODEL_SELECTION nasnet_a_mobile, or SUPERNET.SPACE nasnet)."""

    stem: Literal["imagenet", "cifar"] = Field(
        "imagenet",
        description="imagenet: a convolution of stride 2 and two reduction cells; cifar: a convolution of stride 1",
    )
    stem_filters: Annotated[int, Field(ge=1, le=16384)] = Field(32, description="output channels of the stem")
    filters: Annotated[int, Field(ge=8, le=16384)] = Field(
        44, description="channels of a node in the first of the three stacks, doubled in each other (4 @ 1056: 44)"
    )
    cells: Annotated[int, Field(ge=1, le=64)] = Field(4, description="normal cells of a stack")


class Board(Section):
    """Cream's board of prioritized paths."""

    size: Positive = Field(10, description="paths on the board")
    gap: NonNegative = Field(
        5.0, description="points of accuracy by which a costlier path must beat the worst entry to replace it"
    )
    interval: Positive = Field(200, description="steps between two updates")
    candidates: Positive = Field(2, description="most recently trained paths that are measured at an update")
    images: Positive = Field(2048, description="held-out images (search split) that an accuracy is measured on")
    recalibration_images: Positive = Field(2048, description="train images that batch norm is recalibrated on")


class Matching(Section):
    """Cream's meta matching network: which board entry teaches the present path, and how strongly."""

    interval: Positive = Field(200, description="steps between two updates of the matching network")
    slice: Positive = Field(4, description="images kept with each board entry, on which paths are compared")
    lr: Annotated[float, Field(gt=0.0)] = Field(1e-4, description="learning rate of the matching network (Adam)")


class Threshold(Section):
    """Single-Path NAS's differentiable decisions: thresholds, and the cost term lambda * log(R) of the loss."""

    warmup_epochs: Count = Field(
        5, description="epochs at first without the cost term, whose indicators are dropped out"
    )
    keep: Annotated[float, Field(gt=0.0, le=1.0)] = Field(
        0.6, description="share of the indicators that a step of those epochs keeps; the others count as 0"
    )
    latency_table: str = Field(
        "", description="JSON of measured layers: R is their latency; '': R is MACs. LATENCY_TABLE is the window's"
    )
    lr: Annotated[float, Field(gt=0.0)] = Field(
        1.0,
        description="how far thresholds may move in an epoch, before their rate decays to 0 with the epochs after the "
        "warm-up; the norms of fresh shells are near 0.3",
    )
    cost_weight: NonNegative = Field(
        0.05, description="the size of lambda after the warm-up where decisions cost too much (positive) or too little"
    )
    steering: NonNegative = Field(
        0.5, description="how much that size grows in an epoch at e times FLOPS_MAXIMUM, or 1/e of FLOPS_MINIMUM"
    )


class Search(Section):
    """How the supernet is trained."""

    strategy: Literal["uniform", "prioritized", "threshold"] = Field(
        "prioritized",
        description="uniform: one path a step; prioritized: Cream's distillation from a board of paths; threshold: "
        "Single-Path NAS's differentiable decisions (encoding superkernel)",
    )
    prior: Literal["even", "pre_prob", "teacher"] = Field(
        "even",
        description="how training paths choose operations, always inside the window: even: uniform over its "
        "architectures; pre_prob: in proportion to SEARCH.PRE_PROB; teacher: to the board's histogram",
    )
    pre_prob: tuple[NonNegative, ...] = Field(
        (0.05, 0.2, 0.05, 0.5, 0.05, 0.15),
        description="pre_prob: share of each operation index (Cream's: (3,4) (3,6) (5,4) (5,6) (7,4) (7,6))",
    )
    distillation_epoch: Count = Field(20, description="first epoch (from 0) in which board paths teach")
    teacher: Literal["meta", "top1"] = Field(
        "meta",
        description="which board path teaches a path: meta: the matching network chooses, and how strongly; "
        "top1: the best other than itself, at half strength",
    )
    board: Board = Field(default_factory=Board, description="the board of prioritized paths")
    matching: Matching = Field(default_factory=Matching, description="the meta matching network")
    threshold: Threshold = Field(default_factory=Threshold, description="differentiable decisions")

    @field_validator("pre_prob")
    @classmethod
    def _shares(cls, value: tuple[float, ...]) -> tuple[float, ...]:
        if not math.isclose(sum(value), 1.0, abs_tol=1e-3):
            raise ValueError(f"the shares add up to {sum(value):g}; they must add up to 1")
        return value

    @model_validator(mode="after")
    def _check_prior(self) -> Search:
        if self.prior == "teacher" and self.strategy != "prioritized":
            raise ValueError(
                f"SEARCH.PRIOR teacher follows the board, which SEARCH.STRATEGY {self.strategy} does not keep: use "
                "prioritized, or another prior"
            )
        return self


class Picker(Section):
    """How the winners are chosen from the trained supernet."""

    name: Literal["board", "evolution", "local_search", "reinforce", "random", "exhaustive"] = Field(
        "evolution", description="evolution is seeded by the board; exhaustive measures every path of the window"
    )
    evaluations: Positive = Field(1000, description="architectures measured (exhaustive: refused if more are needed)")
    population: Positive = Field(50, description="evolution: parents kept; local_search: draws for each start")
    generation: Positive | None = Field(
        None,
        description="evolution, local_search, reinforce: measured at once, shared by the devices; null: POPULATION",
    )
    survival: Literal["best", "youngest"] = Field(
        "best", description="evolution: parents are the best so far, or the newest (regularized evolution)"
    )
    tournament: Positive = Field(1, description="evolution: a parent is the best of so many drawn")
    mutation: Probability = Field(
        0.1, description="evolution: probability of re-drawing each layer; at least one is re-drawn"
    )
    crossover: Probability = Field(0.5, description="evolution: share of children that have two parents")
    step: Annotated[float, Field(gt=0.0)] = Field(0.1, description="reinforce: learning rate of the policy's logits")
    images: Positive | None = Field(None, description="images of the search split for a score; null: all")
    recalibration_images: Positive = Field(4096, description="train images that batch norm is recalibrated on")
    abreast: Positive = Field(
        16,
        description="architectures measured in the same forward passes, where the supernet can (nasbench201), with the "
        "same result; memory grows with it; 1: one after another",
    )
    keep: Positive = Field(10, description="ranked architectures written to pick.json")


class Test(Section):
    """What test.py reads from a file of weights."""

    weights: Literal["auto", "ema", "plain"] = Field(
        "auto", description="ema: the averaged weights, plain: the others; auto: averaged ones where the file has some"
    )


class Runtime(Section):
    """Device, precision, logging and checkpoints."""

    device: Literal["auto", "cpu", "cuda", "npu"] = Field("auto", description="auto: the accelerator, else the cpu")
    precision: Literal["auto", "O0", "O1", "O2", "O3"] = Field(
        "O0",
        description="O0: fp32; O1: autocast; O2: half weights but for batch norm, fp32 masters; O3: everything half, "
        "without masters; auto: O2 on an accelerator, O0 on a cpu",
    )
    dtype: Literal["float16", "bfloat16"] = Field("bfloat16", description="half precision type of O1, O2 and O3")
    loss_scale: Annotated[float, Field(gt=0.0)] | Literal["dynamic"] = Field(
        "dynamic", description="of float16: fixed, or found and kept as large as gradients allow"
    )
    amp_engine: Literal["native", "apex"] = Field(
        "native", description="what runs O1 and O2: this project, or an installed apex that has amp (float16 only)"
    )
    compile: bool = Field(False, description="torch.compile of the network (retrain.py, test.py)")
    channels_last: bool = Field(True, description="channels-last memory format where the device has it (cpu, cuda)")
    threads: Annotated[int, Field(ge=0, le=1024)] = Field(
        0, description="cpu threads of each process; 0: cores divided by the processes of the machine"
    )
    deterministic: bool = Field(False, description="refuse operations that are not reproducible on the device")
    timeout_minutes: Annotated[float, Field(gt=0.0, le=1e6)] = Field(
        30.0, description="longest wait for another process"
    )
    log_interval: Positive = Field(50, description="steps between two log lines and records")
    checkpoint_interval: Count = Field(0, description="steps between two checkpoints; 0: one at the end of each epoch")
    keep_checkpoints: Positive = Field(2, description="newest checkpoints kept, beside the best")

    @model_validator(mode="after")
    def _check_engine(self) -> Runtime:
        if self.amp_engine == "apex" and self.dtype != "float16":
            raise ValueError(f"RUNTIME.AMP_ENGINE apex knows no {self.dtype}: set RUNTIME.DTYPE to float16")
        return self


class Config(Section):
    """The whole configuration of a job."""

    seed: Count = Field(0, description="everything random derives from it")
    save_path: str = Field("./output", description="run folder, made if missing")
    resume_path: str = Field(
        "",
        description="train.py, retrain.py: checkpoint or run folder to continue; 'auto' continues SAVE_PATH if it "
        "holds a run, else starts. test.py: the weights to test",
    )
    flops_minimum: NonNegative = Field(0, description="smallest cost of a path, in millions of MACs, inclusive")
    flops_maximum: NonNegative = Field(600, description="largest cost of a path, in millions of MACs, inclusive")
    latency_maximum: NonNegative | None = Field(
        None, description="largest latency of a path, in ms by LATENCY_TABLE, inclusive; null: no second bound"
    )
    latency_table: str = Field(
        "", description="JSON of measured layers that LATENCY_MAXIMUM is about (`python -m tools.latency --build`)"
    )
    model_selection: int | str = Field(
        -1,
        description="the network of retrain.py and test.py: 14, 43, 112, 114, 287, 481, 604 (Cream), spnasnet_100, "
        "nasnet_a_mobile, nasbench_macro/<digits>, nasbench101/<hash>, nasbench201/<architecture string or index>, "
        "or -1: INPUT_ARCH",
    )
    input_arch: (
        list[list[int]]
        | tuple[list[list[int]], list[str]]
        | dict[str, list[list[int]] | list[str]]
        | dict[str, list[list[tuple[int, str]]] | list[int]]
        | str
        | int
        | None
    ) = Field(
        None,
        description="architecture where MODEL_SELECTION is -1: a nested list of SUPERNET.SPACE, its text form, "
        "or a pick.json (its best; pick.json#2 its third); of nasbench101 also {matrix: …, ops: …} or [matrix, ops], "
        "of nasbench201 an index, of nasnet {normal: …, reduction: …}",
    )
    data: Data = Field(default_factory=Data, description="the data set")
    supernet: Supernet = Field(default_factory=Supernet, description="space and encoding")
    nasbench101: NasBench101 = Field(default_factory=NasBench101, description="around a cell of NAS-Bench-101")
    nasbench201: NasBench201 = Field(default_factory=NasBench201, description="around a cell of NAS-Bench-201")
    nasnet: NasNet = Field(default_factory=NasNet, description="around NASNet's cells")
    train: Train = Field(default_factory=Train, description="training of weights")
    search: Search = Field(default_factory=Search, description="supernet strategy")
    picker: Picker = Field(default_factory=Picker, description="choice of the winners")
    test: Test = Field(default_factory=Test, description="choice of the weights to test")
    runtime: Runtime = Field(default_factory=Runtime, description="device, precision, checkpoints")

    @property
    def surroundings(self) -> dict[str, Section]:
        """The sections of the networks around cells, by the names of their spaces."""
        return {"nasbench101": self.nasbench101, "nasbench201": self.nasbench201, "nasnet": self.nasnet}

    @model_validator(mode="after")
    def _check_slice(self) -> Config:
        kept = self.search.matching.slice
        pool = min(self.search.board.recalibration_images, self.train.evaluation_batch_size)
        if kept > pool:
            raise ValueError(
                f"SEARCH.MATCHING.SLICE {kept} is above {pool}, the smaller of SEARCH.BOARD.RECALIBRATION_IMAGES and "
                "TRAIN.EVALUATION_BATCH_SIZE; lower it, or raise them"
            )
        return self

    @model_validator(mode="after")
    def _check_resolutions(self) -> Config:
        if self.supernet.resolutions is not None and self.data.image_size is not None:
            raise ValueError(
                f"DATA.IMAGE_SIZE {self.data.image_size} and SUPERNET.RESOLUTIONS {list(self.supernet.resolutions)} "
                "both name image sizes: remove one of the two"
            )
        return self

    @model_validator(mode="after")
    def _check_threshold(self) -> Config:
        if self.search.strategy == "threshold" and self.supernet.encoding != "superkernel":
            raise ValueError(
                f"SEARCH.STRATEGY threshold decides about a superkernel's shells: SUPERNET.ENCODING is "
                f"{self.supernet.encoding}, set it to superkernel"
            )
        if self.search.strategy == "threshold" and self.supernet.resolutions is not None:
            raise ValueError(
                "SEARCH.STRATEGY threshold decides no image size: set SUPERNET.RESOLUTIONS to null, or use another "
                "strategy"
            )
        return self

    @model_validator(mode="after")
    def _check_latency(self) -> Config:
        if (self.latency_maximum is None) == bool(self.latency_table):
            raise ValueError(
                f"LATENCY_MAXIMUM is {self.latency_maximum} and LATENCY_TABLE {self.latency_table!r}: set both or none"
            )
        if self.latency_table and self.supernet.resolutions is not None:
            raise ValueError(
                "LATENCY_TABLE was measured at one image size: set SUPERNET.RESOLUTIONS to null, or LATENCY_TABLE to ''"
            )
        return self

    @model_validator(mode="after")
    def _check_window(self) -> Config:
        if self.flops_minimum > self.flops_maximum:
            raise ValueError(
                f"FLOPS_MINIMUM {self.flops_minimum} is above FLOPS_MAXIMUM {self.flops_maximum}; exchange them"
            )
        return self
