use crate::trial;

#[test]
fn lines() {
    trial::table(&[
        ("root /", ""),
        ("root /no/such/directory", ""),
        (
            "root",
            "Wrong argument count or unexpected line ending after 'root'",
        ),
        ("root /a /b", "unexpected line ending after '/a'"),
        ("root / {\n  x\n}", "takes no block"),
        (
            "root /dev/null/x",
            "unable to access root path '/dev/null/x'",
        ),
    ]);
}

#[test]
fn the_last_one_counts() {
    let trial = trial::block("root /tmp\nroot /");
    assert_eq!(trial.blocks[0].config.root.to_str(), Some("/"));
    assert_eq!(
        trial::block("debug").blocks[0].config.root.to_str(),
        Some(".")
    );
}

#[test]
fn readme() {
    trial::readme(include_str!("README.md"));
}
