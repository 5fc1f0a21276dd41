"""What `report` fetches from S3: the job's output, what AWS's Debugger left beside it, pictures of the mistakes."""

import base64
import io
import tarfile

import pytest
from click.testing import CliRunner
from PIL import Image
from report_artifacts import BREEDS, build_full, describe_job, draw_predictions, render, write_artifacts
from report_watched import draw_image, write_aws_report, write_profile, write_tensors

from dogbreed_cli import report
from dogbreed_cli.cli import cli
from dogbreed_cli.commands.report import fetch_artifacts, locate_images, read_images
from dogbreed_cli.config import Config
from dogbreed_cli.console import Console
from dogbreed_cli.context import App
from dogbreed_cli.local import BUCKET, Home, connect
from dogbreed_cli.report.gallery import draw_thumbnail

JOB = describe_job(OutputDataConfig={"S3OutputPath": f"s3://{BUCKET}/dogbreed/jobs/"})
OUTPUT = f"dogbreed/jobs/{JOB['TrainingJobName']}"


@pytest.fixture
def s3(tmp_path):
    client = connect(Home(tmp_path / "home")).client("s3")
    client.create_bucket(Bucket=BUCKET)
    return client


def pack(s3, folder):
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz") as tar:
        tar.add(folder, arcname=".")
    s3.put_object(Bucket=BUCKET, Key=f"{OUTPUT}/output/output.tar.gz", Body=packed.getvalue())


def send(s3, folder):
    for path in folder.rglob("*"):
        if path.is_file():
            s3.put_object(Bucket=BUCKET, Key=f"{OUTPUT}/{path.relative_to(folder)}", Body=path.read_bytes())


def fetched(s3, folder, job=JOB):
    folder.mkdir()
    return report.build(fetch_artifacts(App(Console()), s3, job, folder), job)


def test_a_job_without_output_is_reported_with_a_warning(s3, tmp_path, capsys):
    built = fetched(s3, tmp_path / "scratch")
    assert built.evaluation is None
    assert f"there is no s3://{BUCKET}/{OUTPUT}/output/output.tar.gz" in capsys.readouterr().err


def test_what_aws_left_beside_the_output_is_read_too(s3, tmp_path):
    pack(s3, write_artifacts(tmp_path / "a"))
    write_tensors(tmp_path / "aws/debug-output")
    write_profile(tmp_path / "aws/profiler-output")
    write_aws_report(tmp_path / "aws")
    send(s3, tmp_path / "aws")
    built = fetched(s3, tmp_path / "scratch")
    assert built.evaluation and built.tensors and built.activity.lines
    assert [rule.name for rule in built.aws_rules] == ["CPUBottleneck", "StepOutlier"]


def test_what_the_job_packed_itself_is_not_counted_twice(s3, tmp_path):
    artifacts = write_artifacts(tmp_path / "a")
    write_profile(artifacts / "profiler-output")
    pack(s3, artifacts)
    write_profile(tmp_path / "aws/profiler-output", seconds=500)
    send(s3, tmp_path / "aws")
    assert fetched(s3, tmp_path / "scratch").activity.lines[0].moments == 150


def test_debugger_output_stands_where_the_job_was_told_to_put_it(s3, tmp_path):
    pack(s3, write_artifacts(tmp_path / "a"))
    write_tensors(tmp_path / "aws/debug-output")
    for path in (tmp_path / "aws").rglob("*.*"):
        if path.is_file():
            key = f"elsewhere/{JOB['TrainingJobName']}/{path.relative_to(tmp_path / 'aws')}"
            s3.put_object(Bucket=BUCKET, Key=key, Body=path.read_bytes())
    assert not fetched(s3, tmp_path / "1").tensors
    job = JOB | {"DebugHookConfig": {"S3OutputPath": f"s3://{BUCKET}/elsewhere"}}
    assert fetched(s3, tmp_path / "2", job).tensors


def test_images_are_where_the_job_read_them_or_where_the_project_has_them():
    uri = "s3://other/data/test/"
    channel = {"ChannelName": "test", "DataSource": {"S3DataSource": {"S3Uri": uri}}}
    assert locate_images(Config(), BUCKET, {"InputDataConfig": [channel]}, "test") == uri
    features = {"ChannelName": "features", "DataSource": {"S3DataSource": {"S3Uri": "s3://other/features"}}}
    assert locate_images(Config(), BUCKET, {"InputDataConfig": [features]}, "valid") == (
        f"s3://{BUCKET}/dogbreed/data/valid"
    )


def test_gallery_has_the_pictures_and_says_which_are_gone(s3, tmp_path):
    rows = [row | {"file": row["file"].removeprefix("test/")} for row in draw_predictions(BREEDS, 20)]
    built = report.build(write_artifacts(tmp_path / "a", predictions=rows), JOB)
    mistakes = built.evaluation.mistakes
    for number, row in enumerate(mistakes[1:]):
        body = draw_image(number) if number else b"no image at all"
        s3.put_object(Bucket=BUCKET, Key=f"dogbreed/data/test/{row.file}", Body=body)
    images = dict(read_images(s3, f"s3://{BUCKET}/dogbreed/data/test", mistakes))
    shown = report.illustrate(built, images)
    page = render(shown, tmp_path / "out")
    assert page.tags["img"] == len(mistakes) - 2
    assert f"2 pictures of {len(mistakes)} cannot be shown" in page.sections["mistakes"]
    assert page.sections["mistakes"].count("no picture") == 2
    assert shown.gallery[mistakes[0].file].why and "not a readable image" in shown.gallery[mistakes[1].file].why
    assert all(uri.startswith(("#", "data:image/jpeg;base64,")) for uri in page.fetches)
    assert "gallery" not in report.to_json(shown)


def test_a_report_whose_images_nobody_fetched_says_so(tmp_path):
    assert "The images were not fetched" in render(build_full(tmp_path), tmp_path / "out").sections["mistakes"]


@pytest.mark.parametrize("size", [(4000, 300), (10, 2000), (1, 1)])
def test_thumbnails_are_small_whatever_the_picture(size):
    picture = draw_thumbnail(draw_image(1, size))
    assert picture.uri.startswith("data:image/jpeg;base64,") and len(picture.uri) < 8000
    assert 0 <= picture.width <= 96 and 0 <= picture.height <= 96


def test_thumbnails_have_the_colours_that_the_job_saw():
    """White where nothing is, of 16 bits the upper 8; whatever stands in the EXIF."""
    clear = Image.new("RGBA", (40, 20))
    palette = Image.new("P", (40, 20))
    palette.putpalette([9, 9, 9])
    deep = Image.new("I;16", (40, 20), 0x4000)
    for picture, options, wanted in (
        (clear, {}, 255),
        (clear, {"exif": b"Exif\0\0junk"}, 255),
        (palette, {"transparency": 0}, 255),
        (palette, {}, 9),
        (deep, {}, 0x40),
    ):
        picture.save(out := io.BytesIO(), "PNG", **options)
        thumbnail = draw_thumbnail(out.getvalue())
        with Image.open(io.BytesIO(base64.b64decode(thumbnail.uri.partition(",")[2]))) as drawn:
            assert drawn.getpixel((20, 10)) == pytest.approx((wanted,) * 3, abs=3)


@pytest.mark.parametrize("content", [b"", b"\xff\xd8\xff\xe0", draw_image(1)[:600], b"<svg/>"])
def test_what_is_no_picture_is_no_error(content):
    assert "not a readable image" in draw_thumbnail(content).why


def test_compare_names_its_jobs_itself():
    result = CliRunner().invoke(cli, ["report", "--compare", "a", "b", "--job", "c"])
    assert result.exit_code == 2 and "leave out --job" in result.stderr
