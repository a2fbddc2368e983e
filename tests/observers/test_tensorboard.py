import io

import numpy as np
import pytest
import torch
from PIL import Image
from tensorboard.backend.event_processing.event_accumulator import IMAGES, EventAccumulator
from tensorboard.backend.event_processing.event_file_loader import EventFileLoader

from jepa.core.training.observer import Record
from jepa.observers.events import cut_events
from jepa.observers.tensorboard import FOLDER, TensorBoard, masks_sheet


def read(folder) -> EventAccumulator:
    accumulator = EventAccumulator(str(folder / FOLDER), size_guidance={"scalars": 0, IMAGES: 0})
    return accumulator.Reload()


def raw_steps(folder, tag: str) -> list[int]:
    """Steps as they stand in the files, before TensorBoard hides anything."""
    return [
        event.step
        for path in sorted((folder / FOLDER).glob("*tfevents*"))
        for event in EventFileLoader(str(path)).Load()
        for value in event.summary.value
        if value.tag == tag
    ]


def write(run, steps, loss: float, outcome="interrupted", **settings) -> TensorBoard:
    observer = TensorBoard(TensorBoard.Config(**settings))
    observer.start(run)
    for step in steps:
        assert observer.measure(step) == {}
        observer.record(Record(step, step / 10, {"train/loss": loss, "schedule/lr": 1e-3}))
    observer.saved(steps[-1])
    if outcome:
        observer.finish(outcome)
    return observer


def test_scalars_under_their_names(make_run, tmp_path):
    write(make_run(), [10, 20], loss=0.5)
    found = read(tmp_path)
    assert set(found.Tags()["scalars"]) == {"train/loss", "schedule/lr"}
    assert [(e.step, e.value) for e in found.Scalars("train/loss")] == [(10, 0.5), (20, 0.5)]


def test_saved_puts_scalars_on_the_disk_before_the_end(make_run, tmp_path):
    steps = list(range(1, 500))
    observer = write(make_run(), steps, loss=0.5, outcome=None)
    assert raw_steps(tmp_path, "train/loss") == steps
    assert raw_steps(tmp_path, "schedule/lr") == steps
    observer.finish("failed")


def test_notes_are_text(make_run, tmp_path):
    observer = TensorBoard(TensorBoard.Config())
    observer.start(make_run())
    observer.record(Record(1, 0.1, {}, ("step 1 skipped",)))
    observer.finish("completed")
    (event,) = read(tmp_path).Tensors("notes/text_summary")
    assert event.tensor_proto.string_val == [b"step 1 skipped"]


def test_how_the_run_stands_is_text_where_it_changes(make_run, tmp_path):
    observer = TensorBoard(TensorBoard.Config())
    observer.start(make_run())
    for step, status in enumerate(["", "warming up", "warming up", "learning"], 1):
        observer.record(Record(step, 0.1, {}, (), status))
    observer.finish("completed")
    events = read(tmp_path).Tensors("status/text_summary")
    said = [(event.step, event.tensor_proto.string_val[0].decode()) for event in events]
    assert said == [(2, "warming up"), (4, "learning")]


def test_no_step_stands_twice_after_resumes(make_run, tmp_path):
    write(make_run(), [10, 20, 30], loss=1.0)
    write(make_run(start_step=20), [30, 40], loss=2.0)
    write(make_run(start_step=10), [20, 30], loss=3.0)
    assert raw_steps(tmp_path, "train/loss") == [10, 20, 30]
    assert [e.value for e in read(tmp_path).Scalars("train/loss")] == [1.0, 3.0, 3.0]


def test_a_run_from_the_start_leaves_nothing_of_the_one_before(make_run, tmp_path):
    write(make_run(), [10, 20], loss=1.0)
    write(make_run(), [10], loss=2.0)
    assert raw_steps(tmp_path, "train/loss") == [10]
    assert raw_steps(tmp_path, "masks") == [0]


@pytest.mark.parametrize("torn", [1, 9, 20])
def test_torn_last_record_is_dropped(make_run, tmp_path, torn):
    write(make_run(), [10, 20, 30], loss=1.0)
    (path,) = (tmp_path / FOLDER).glob("*tfevents*")
    path.write_bytes(path.read_bytes()[:-torn])
    cut_events(tmp_path / FOLDER, 30)
    whole = path.read_bytes()
    assert raw_steps(tmp_path, "train/loss") == [10, 20, 30]
    assert raw_steps(tmp_path, "schedule/lr") == [10, 20]
    cut_events(tmp_path / FOLDER, 30)
    assert path.read_bytes() == whole


def test_files_that_need_no_cut_are_not_written(make_run, tmp_path):
    write(make_run(), [10, 20], loss=1.0)
    (path,) = (tmp_path / FOLDER).glob("*tfevents*")
    before = path.stat().st_ino
    cut_events(tmp_path / FOLDER, 20)
    assert path.stat().st_ino == before
    cut_events(tmp_path / FOLDER, 10)
    assert path.stat().st_ino != before


def test_sheets_of_masks_at_the_start_and_every_so_many_steps(make_run, tmp_path):
    write(make_run(), [1, 2, 3, 4], loss=1.0, pictures_every=2, pictures=3)
    write(make_run(start_step=4), [5, 6], loss=1.0, pictures_every=2, pictures=3)
    images = read(tmp_path).Images("masks")
    assert [image.step for image in images] == [0, 2, 4, 6]
    sheets = [np.asarray(Image.open(io.BytesIO(i.encoded_image_string))) for i in images]
    assert all(sheet.shape == (3 * 132 + 4, 2 * 132 + 4, 3) for sheet in sheets)
    assert not np.array_equal(sheets[0], sheets[1])


def test_sheet_shows_the_masks_of_its_step(make_run):
    run = make_run()
    sheet = masks_sheet(run, step=5, samples=99)
    assert torch.equal(sheet, masks_sheet(run, step=5, samples=6))
    assert sheet.shape[0] == 6 * 132 + 4


def test_use_before_start_says_so():
    with pytest.raises(RuntimeError, match="start"):
        TensorBoard(TensorBoard.Config()).record(Record(1, 0.1, {}))
