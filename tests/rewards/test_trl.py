"""Rewards in TRL's contract, both ways, and a step of the real GRPO trainer if TRL is installed."""

from __future__ import annotations

import pickle
from importlib import import_module
from pathlib import Path
from typing import Any, cast

import pytest

from bedrock_rft import rewards
from bedrock_rft.rewards import Exact, Handler, Numeric, Rollout, from_trl, package, reward, to_trl


def exact_match(
    completions: list[list[dict[str, str]]], reference_answer: list[str], level: list[int] | None = None, **_: Any
) -> list[float | None]:
    """A reward function as in TRL's documentation."""
    assert level in (None, [3])
    return [
        None if answer[0]["content"] == "skip" else float(answer[0]["content"] == right)
        for answer, right in zip(completions, reference_answer, strict=True)
    ]


async def text_length(prompts: list[str], completions: list[str], **_: Any) -> list[float]:
    return [len(prompt) + len(text) / 100 for prompt, text in zip(prompts, completions, strict=True)]


@reward
def level(rollout: Rollout) -> float:
    return float(rollout.extra["level"]) + 10 * len(rollout.messages)


# The arguments that GRPOTrainer of TRL 1.16 passes.
OTHERS: dict[str, Any] = {
    "completion_ids": [[1], [2]],
    "trainer_state": object(),
    "log_extra": print,
    "log_metric": print,
}


def test_to_trl_takes_text_and_messages() -> None:
    function = to_trl(Numeric(), reference="answer")
    assert function.__name__ == "numeric"
    assert function(prompts=["2 + 2?", "3 + 3?"], completions=["4", "5"], answer=["4", "6"], **OTHERS) == [1.0, 0.0]
    chats = [[{"role": "system", "content": "Count."}, {"role": "user", "content": "2 + 2?"}]] * 2
    answers = [[{"role": "assistant", "content": text}] for text in ("#### 4", "5")]
    assert function(prompts=chats, completions=answers, answer=["4", "4"], **OTHERS) == [1.0, 0.0]
    assert to_trl(level)(prompts=chats, completions=answers, level=[1, 2], **OTHERS) == [31.0, 32.0]
    assert to_trl(0.5 * Exact() + 0.5 * Numeric(), name="both").__name__ == "both"


def test_a_misspelled_column_is_named() -> None:
    function = to_trl(Numeric(), reference="anwser")
    with pytest.raises(
        ValueError, match="no column 'anwser' with the reference answers; the columns are: answer, level"
    ):
        function(prompts=["2 + 2?"], completions=["4"], answer=["4"], level=[1], **OTHERS)


def test_to_trl_gives_the_floor_for_a_completion_that_cannot_be_scored() -> None:
    columns: dict[str, Any] = {"prompts": ["?", "?"], "completions": ["4", "4"], "reference_answer": ["4", "four"]}
    assert to_trl(Numeric(), floor=-1.0)(**columns) == [1.0, -1.0]
    assert to_trl(Handler(Numeric(), floor=-2.0))(**columns) == [1.0, -2.0]


def test_from_trl_calls_the_function_with_one_rollout() -> None:
    found = from_trl(exact_match)
    assert found(Rollout.of("?", "4", "4", level=3)).parts == {"exact_match": 1.0}
    assert found(Rollout.of("?", "5", "4")).value == 0.0
    with pytest.raises(ValueError, match="returned None, but Bedrock needs a score"):
        found(Rollout.of("?", "skip", "4"))
    assert from_trl(text_length, conversational=False)(Rollout.of("abc", "d" * 10)).value == 3.1
    with pytest.raises(TypeError, match="not str"):
        from_trl("exact_match")  # type: ignore[arg-type]


def test_there_and_back() -> None:
    rollouts = [Rollout.of("?", answer, "4", level=3) for answer in ("4", "5")]
    again = from_trl(to_trl(from_trl(exact_match)), name="again")
    assert [again(one).value for one in rollouts] == [1.0, 0.0]
    assert [pickle.loads(pickle.dumps(from_trl(exact_match)))(one).value for one in rollouts] == [1.0, 0.0]  # noqa: S301 - made here


def test_a_function_of_trl_is_packaged(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = tmp_path / "trl_functions_of_mine.py"
    source.write_text(
        "def right(completions, reference_answer, **columns):\n"
        "    return [float(one[0]['content'] == right) for one, right in zip(completions, reference_answer)]\n"
    )
    cast("Any", monkeypatch).syspath_prepend(str(tmp_path))
    right: Any = import_module("trl_functions_of_mine").right
    made = package(0.5 * from_trl(right, name="right") + 0.5 * Exact())
    scored = rewards.invoke(made, [Rollout.of("?", "4", "4"), Rollout("r2", Rollout.of("?", "5").messages, "4")])
    assert [one.score for one in scored.scores] == [1.0, 0.0]


@reward
def even_numbers(rollout: Rollout) -> float:
    assert rollout.reference == str(2 * rollout.extra["level"])
    assert rollout.prompt == f"{rollout.extra['level']} + {rollout.extra['level']} ="
    return sum(word.isdigit() and int(word) % 2 == 0 for word in rollout.answer.split()) / 8


@pytest.mark.filterwarnings("ignore")  # of libraries that TRL uses
def test_a_step_of_the_grpo_trainer(tmp_path: Path) -> None:
    pytest.importorskip("trl")
    # Without annotations, and not installed for the type checkers.
    torch, datasets, tokenizers, pre, transformers, trl = (
        cast("Any", import_module(name))
        for name in ("torch", "datasets", "tokenizers", "tokenizers.pre_tokenizers", "transformers", "trl")
    )
    words = ["<pad>", "<eos>", "<unk>", *map(str, range(20)), "+", "?", "="]
    model_of_words = tokenizers.models.WordLevel({word: place for place, word in enumerate(words)}, unk_token="<unk>")
    tokenizer = tokenizers.Tokenizer(model_of_words)
    tokenizer.pre_tokenizer = pre.Whitespace()
    fast = transformers.PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, pad_token="<pad>", eos_token="<eos>", unk_token="<unk>", padding_side="left"
    )
    torch.manual_seed(0)
    settings = dict.fromkeys(("hidden_size", "intermediate_size"), 16) | dict.fromkeys(("num_hidden_layers",), 1)
    heads = dict.fromkeys(("num_attention_heads", "num_key_value_heads"), 2)
    tiny = transformers.Qwen2Config(vocab_size=len(words), eos_token_id=1, pad_token_id=0, **settings, **heads)
    model = transformers.Qwen2ForCausalLM(tiny)
    trainer = trl.GRPOTrainer(
        model=model,
        reward_funcs=to_trl(even_numbers, reference="answer"),
        args=trl.GRPOConfig(
            output_dir=str(tmp_path),
            per_device_train_batch_size=4,
            num_generations=4,
            max_completion_length=8,
            max_steps=1,
            logging_steps=1,
            report_to=[],
            use_cpu=True,
            bf16=False,
            save_strategy="no",
            disable_tqdm=True,
        ),
        train_dataset=datasets.Dataset.from_list(
            [{"prompt": f"{n} + {n} =", "answer": str(2 * n), "level": n} for n in range(4)]
        ),
        processing_class=fast,
    )
    before = [parameter.clone() for parameter in model.parameters()]
    trainer.train()
    (log,) = [entry for entry in trainer.state.log_history if "rewards/even_numbers/mean" in entry]
    assert 0 < log["rewards/even_numbers/mean"] < 1
    assert log["reward_std"] > 0
    assert not all(torch.equal(old, new) for old, new in zip(before, model.parameters(), strict=True))
