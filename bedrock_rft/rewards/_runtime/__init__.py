"""Reward code that runs inside Lambda; standard library and botocore only."""

PUBLIC_NAMES = {
    "graders.answer_match": ("Choice", "Exact", "Matches", "Numeric"),
    "graders.unit_tests": ("PassesTests",),
    "graders.extraction": ("after_marker", "boxed", "final_answer"),
    "graders.math_match": ("MathEqual",),
    "graders.numbers": ("last_number",),
    "handler": ("Handler",),
    "function": ("reward",),
    "graders.json_match": ("JsonEqual", "JsonSchema"),
    "graders.llm_judge": ("Judge", "JudgeError"),
    "reward": ("Reward",),
    "rollout": ("Rollout", "Score"),
    "rollout_log": ("RolloutLog",),
    "graders.style": ("Format", "Length"),
    "formula": ("Formula",),
    "graders.overlap": ("Repetition", "SetF1", "TokenF1"),
    "graders.tool_call": ("ToolCall",),
    "graders.prompted_judge": ("LabelModel", "ScoreModel"),
    "graders.templated": ("PythonGrader", "Similarity", "StringCheck"),
    "graders.templates": ("openai_inputs",),
    "trl": ("from_trl", "to_trl"),
}
"""Names of `bedrock_rft.rewards` by the module of this package that defines them."""
