from pipeline.commands import doctor


def test_missing_libraries_are_named_as_debian_packages():
    log = (
        "ImportError: libXi.so.6: cannot open shared object file: No such file or directory\n"
        "libSM.so.6: cannot open shared object file: No such file or directory\n"
        "libodd.so.3: cannot open shared object file: No such file or directory\n"
    )
    assert doctor.missing_system_packages(log) == ["libsm6", "libxi6", "the package that holds libodd.so"]
    assert doctor.missing_system_packages("all is well") == []


def test_only_required_findings_make_a_machine_unfit(monkeypatch, tmp_path):
    said = []
    findings = [doctor.Finding(True, "fine"), doctor.Finding(False, "no GPU", required=False)]
    monkeypatch.setattr(doctor, "_findings", lambda *arguments: iter(findings))
    assert doctor.examine(tmp_path, "demo", None, echo=said.append)
    findings.append(doctor.Finding(False, "no Blender"))
    assert not doctor.examine(tmp_path, "demo", None, echo=said.append)
    assert [line.split()[0] for line in said] == ["ok", "--", "ok", "--", "FAIL"]


def test_it_ends_with_the_run_that_can_be_made(tmp_path):
    assert doctor.next_of(None, "desk") == "next: rodin-pipe run --preset desk --out runs/desk"
    there = tmp_path / "a run"
    there.mkdir()
    (there / "run.toml").touch()
    assert doctor.next_of(there, "demo") == f"next: rodin-pipe run --out '{there}'"


def test_disk_is_what_the_preset_needs(tmp_path):
    finding = doctor._disk(tmp_path / "new", "demo")
    assert finding.ok
    assert "demo" in finding.what
    assert not doctor._disk(tmp_path / "new", "paper").ok
