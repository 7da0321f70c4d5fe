"""`dbeta pretrain`: recipes that it refuses."""

import pytest

from command_line import refused


@pytest.mark.parametrize(
    ("content", "changes", "message"),
    [
        (None, [], "r.yaml"),
        ("just words", [], "not a recipe"),
        ("a: [1", [], "cannot be read"),
        ("presett: tiny", [], "unknown setting presett"),
        ("preset: huge", [], "preset must be base or tiny, not 'huge'"),
        ("preset: tiny", ["--set", "preset"], "key=value"),
        ("preset: tiny", ["--set", "nonsense=1"], "unknown setting nonsense"),
        ("preset: tiny", ["--set", "preset.size=1"], "single value"),
        ("corpus: none", [], "not a corpus"),
    ],
)
def test_a_bad_recipe(run, tmp_path, content, changes, message):
    if content is not None:
        (tmp_path / "r.yaml").write_text(content)
    assert message in refused(run("pretrain", tmp_path / "r.yaml", "--output", tmp_path / "out", *changes))
    assert not (tmp_path / "out" / "model.safetensors").exists()
