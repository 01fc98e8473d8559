"""How far a run is with its embeddings."""

from pathlib import Path
from threading import Event

from planning.progress import Embedding, progress_line, watch
from virnucflow.files.progress import Reached, describe


def job(
    folder: Path, encoder: str, *reached: Reached, done: bool = False, ours: bool = True, shards: int = 1
) -> Embedding:
    log = folder / f"{encoder}{len(list(folder.iterdir()))}.log"
    log.write_text("".join(f"embed_{encoder}.py: info: {describe(one, '1 tokens/s', 60)}\n" for one in reached))
    return Embedding(encoder, shards, log, lambda: done, lambda: ours)


def test_shards_and_frames_of_all(tmp_path: Path) -> None:
    jobs = [
        job(tmp_path, "dnabert_s", Reached(300, 300, 50), done=True),
        job(tmp_path, "dnabert_s", Reached(300, 300, 50), Reached(200, 200, 50), done=True, shards=2),
        job(tmp_path, "esm2", Reached(300, 300, 50), done=True),
        job(tmp_path, "esm2", Reached(300, 300, 4), Reached(60, 200, 2), shards=2),
        job(tmp_path, "esm2", Reached(9, 9, 9), ours=False, shards=4),  # a log of an earlier run
    ]
    assert progress_line(jobs, 1000) == (
        "Embedded: dnabert_s 3 of 3 shards, 800 of about 1,000 frames; "
        "esm2 1 of 7 shards, 660 of about 1,000 frames, 2 frames/s, 3 min left"
    )
    jobs[4].log.unlink()
    assert progress_line([jobs[4]._replace(has_log=lambda: True)], 1000) == "Embedded: esm2 0 of 4 shards"


def test_line_is_said_when_it_has_changed() -> None:
    lines, said, ended = iter(["a", "a", "b"]), [], Event()

    def line() -> str:
        now = next(lines, None)
        if now is None:
            ended.set()
        return now or "b"

    watch(said.append, line, every=0.001)
    assert ended.wait(20) and said == ["b"]
