//! Files and what is said about them: every sample loads, every bad file has its exact report.

mod acme;
mod arbitrary;
mod certificates;
mod files;
mod good;
mod pools;
mod samples;
mod shape;
mod upstream;
mod values;

use std::path::Path;

use super::*;

/// A file that is wrong, and its report.
struct Case {
    name: &'static str,
    file: File,
    report: &'static str,
}

enum File {
    Whole(&'static str),
    /// Comes behind [`BASE`], so its first line is line 6 and belongs to `[upstream]`.
    After(&'static str),
}

/// The least that is right.
const BASE: &str = r#"domains = ["example.com"]
[acme]
run = "off"
[upstream]
servers = ["unix:/run/app.sock"]
"#;

fn parse(text: &str) -> Result<Config, Problems> {
    Config::parse(text, Path::new("portico.toml"))
}

fn check(cases: &[Case]) {
    for case in cases {
        let text = match case.file {
            File::Whole(text) => text.to_owned(),
            File::After(text) => format!("{BASE}{text}"),
        };
        let problems = parse(&text).expect_err(case.name);
        let report = problems.to_string();
        assert_eq!(report, case.report, "{}:\n{report}\n", case.name);
        for problem in &problems.list {
            let hint = problem.hint.as_deref().unwrap_or_default();
            assert!(!hint.is_empty(), "no hint: {problem:?}");
            assert!(
                !hint.ends_with('.') && !problem.message.ends_with('.'),
                "full stop: {problem:?}"
            );
        }
    }
}
