"""A reference standard is taken over whole or not at all, and every fault is named by its row."""

import pytest
from trial_records import reference, visit

from device.errors import ReferencesError
from device.trial import references

HEADER = "participant,laterality,refer,vcdr,source\n"


def read(tmp_path, text, encoding="utf-8"):
    path = tmp_path / "references.csv"
    path.write_bytes(text.encode(encoding))
    return references.read(path)


def test_rows_are_read(tmp_path):
    sheet = read(tmp_path, HEADER + "KAN-0001,OD,yes,0.71,panel\nKAN-0001,os,0,,\n\nKAN-0002, OD ,NO\n")
    assert sheet.references == (
        reference("KAN-0001", "OD", True, 0.71, "panel"),
        reference("KAN-0001", "OS", False, None, ""),
        reference("KAN-0002", "OD", False, None, ""),
    )
    assert sheet.ignored == ()


@pytest.mark.parametrize("delimiter", [";", "\t"])
def test_what_spreadsheets_write_is_read(tmp_path, delimiter):
    text = "﻿Refer;Participant;Laterality;remark\r\n1;KAN-0001;OD;x\r\n".replace(";", delimiter)
    sheet = read(tmp_path, text)
    assert sheet.references == (reference("KAN-0001", "OD", True, None, ""),)
    assert sheet.ignored == ("remark",)


def test_every_fault_is_told_with_its_row_and_nothing_is_taken_over(tmp_path):
    text = HEADER + (
        "KAN-0001,OD,yes,,\n"
        "KAN-0001,OD,no,,\n"
        "KAN-0002,left,no,,\n"
        "\n"
        "KAN-0003,OD,,,\n"
        ",OD,1,,\n"
        'KAN-0004,OD,1,"0,7",\n'
        "KAN-0005,OD,1,1.2,\n"
        "KAN-0006,OD,1,nan,\n"
        "KAN-0007,OD,1,,a,b\n"
    )
    with pytest.raises(ReferencesError) as error:
        read(tmp_path, text)
    message = str(error.value)
    for words in (
        "8 of its rows",
        "row 3: KAN-0001 OD is already in row 2",
        "row 4: laterality is 'left': write OD (right) or OS (left)",
        "row 6: refer is ''",
        "row 7: participant is empty",
        "row 8: vcdr is '0,7'",
        "row 9: vcdr is '1.2'",
        "row 10: vcdr is 'nan'",
        "row 11: has 6 cells, but the header 5",
    ):
        assert words in message
    assert message.endswith("correct them and import the file again")


def test_many_faults_are_counted(tmp_path):
    with pytest.raises(ReferencesError, match="and 5 more"):
        read(tmp_path, HEADER + "".join(f"P-{i},OD,perhaps,,\n" for i in range(25)))


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "lacks the column 'participant'"),
        ("participant,laterality\nP-1,OD\n", "lacks the column 'refer'"),
        ("participant,laterality,refer,Refer\n", "has the column 'refer' twice"),
        (HEADER, "no row below its header"),
        (HEADER + 'P-1,"OD,yes\n', "is no CSV"),
    ],
)
def test_a_file_that_is_no_reference_standard_says_why(tmp_path, text, words):
    with pytest.raises(ReferencesError, match=words):
        read(tmp_path, text)


def test_other_encodings_and_absent_files_have_a_way_out(tmp_path):
    with pytest.raises(ReferencesError, match="save it again as 'CSV UTF-8'"):
        read(tmp_path, HEADER + "P-1,OD,yes,,読影者\n", "cp932")
    with pytest.raises(ReferencesError, match="give the CSV file"):
        references.read(tmp_path / "absent.csv")


def test_references_of_people_without_a_visit_are_found():
    known, typing_error = reference("P-1", "OD", True), reference("P1", "OD", True)
    assert references.unknown([known, typing_error], [visit(1, "P-1")]) == [typing_error]
