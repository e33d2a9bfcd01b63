//! `tests/TUTORIALS.md` names tests that exist, one at least for each step.

use std::collections::BTreeSet;
use std::process::Command;

const TUTORIALS: &str = include_str!("../../TUTORIALS.md");

/// Every test of this program, as it lists them itself.
fn tests() -> BTreeSet<String> {
    let program = std::env::current_exe().expect("this program");
    let list = Command::new(program)
        .args(["--list", "--format=terse"])
        .output();
    let list = String::from_utf8(list.expect("the list").stdout).expect("a text");
    let names = list.lines().filter_map(|line| line.strip_suffix(": test"));
    names.map(str::to_owned).collect()
}

#[test]
fn each_step_of_the_tutorials_names_a_test_that_exists() {
    let tests = tests();
    assert!(
        tests.contains("django::tutorials::each_step_of_the_tutorials_names_a_test_that_exists")
    );
    let rows: Vec<&str> = TUTORIALS
        .lines()
        .filter(|line| line.starts_with('|'))
        .collect();
    let heads = rows.iter().filter(|line| line.starts_with("| Step |"));
    assert_eq!(heads.count(), 4, "a table for each tutorial");
    let steps = rows
        .iter()
        .filter(|line| !line.starts_with("| Step |") && !line.starts_with("|---"));
    for step in steps {
        let cells: Vec<&str> = step.split(" | ").collect();
        assert_eq!(cells.len(), 3, "{step}");
        let names: Vec<&str> = cells[2].split('`').skip(1).step_by(2).collect();
        assert!(!names.is_empty(), "no test: {step}");
        for name in names {
            assert!(tests.contains(name), "there is no test `{name}`");
        }
    }
    let chapters = TUTORIALS.lines().filter(|line| line.starts_with("## "));
    assert_eq!(chapters.count(), 4);
    for package in ["django-tenant-engine", "django-multitenant-schemas"] {
        let said = TUTORIALS
            .split("\n\n")
            .any(|text| text.contains(package) && text.contains("no such package on PyPI"));
        assert!(said, "{package}");
    }
}
