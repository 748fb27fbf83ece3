use crate::trial;

#[test]
fn lines() {
    trial::table(&[
        ("debug", ""),
        ("debug\ndebug", ""),
        ("debug off", "unexpected line ending after 'debug'"),
        ("debug {\n  off\n}", "takes no block"),
    ]);
}

#[test]
fn only_its_own_block() {
    let trial = trial::build("example.org {\n  debug\n}\nexample.net {\n  whoami\n}\n");
    let debug: Vec<_> = trial.blocks.iter().map(|b| b.config.debug).collect();
    assert_eq!(debug, [true, false]);
}

#[test]
fn readme() {
    trial::readme(include_str!("README.md"));
}
