//! What the binary makes of its configuration: file, environment and flags, and how it says what is wrong.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod support;

use std::path::Path;
use std::process::Output;

use support::{Folder, NodeProcess, command, put, run, standard_error};
use thermocline_proto::v1;

fn check(file: &Path, arguments: &[&str]) -> Output {
    command().arg("--check-config").arg("--config").arg(file).args(arguments).output().unwrap()
}

#[test]
fn the_example_is_a_good_configuration_and_checking_it_opens_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let example = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/node.yaml");
    let checked = command().current_dir(&folder).arg("--check-config").arg("--config").arg(example).output().unwrap();
    assert_eq!(checked.status.code(), Some(0), "{}", standard_error(&checked));
    assert!(checked.stderr.is_empty());
    assert_eq!(std::fs::read_dir(&folder).unwrap().count(), 0, "no folder was made");
}

#[test]
fn every_error_names_the_field_and_what_is_allowed_and_the_process_exits_with_2() {
    let folder = Folder::new();
    // (override, field at fault, what the message says is allowed)
    let corpus = [
        ("node=''", "node: ", "letters"),
        ("cluster=-x", "cluster: ", "letters"),
        ("listen.kv=nowhere", "listen.kv", "invalid socket address"),
        ("listen={kv: '127.0.0.1:7400', admin: '127.0.0.1:7400', http: '127.0.0.1:0'}", "listen.admin: ", "port 0"),
        ("range={start: m, end: b}", "range.end: ", "after range.start"),
        ("durability=never", "durability", "`sync`, `wal`, `buffered`"),
        ("memoryLimit=1Mi", "memoryLimit: ", "at least 64Mi"),
        ("tiers=[]", "tiers: ", "1 to 4"),
        ("tiers[0].name=Hot", "tiers[0].name: ", "lower-case"),
        ("tiers[1].name=hot", "tiers[1].name: ", "a name of its own"),
        ("tiers[1].rank=0", "tiers[1].rank: ", "ranks that grow"),
        ("tiers[2].medium=Tape", "tiers[2].medium: ", "NVMe, SSD or HDD"),
        ("tiers[1].size=12Q", "tiers[1].size: ", "such as 512Mi"),
        ("tiers[1].sise=1Gi", "tiers[1]", "unknown field `sise`"),
        ("tiers[2].reserve=4Gi", "tiers[2].reserve: ", "less than the tier's size"),
        ("tiers[1].highWatermarkPercent=101", "tiers[1].highWatermarkPercent: ", "2 to 100"),
        ("tiers[0].profile.compression=gzip", "tiers[0].profile.compression: ", "none, lz4 or zstd"),
        (
            "policy={temperatures: [{tier: cool, reads: 1, per: 24h, readWithin: 1h}]}",
            "policy.temperatures[0].tier: ",
            "hot, warm",
        ),
        ("policy.hysteresis=0.5", "policy.hysteresis: ", "1 to 1000"),
        ("policy.evaluationInterval=1ms", "policy.evaluationInterval: ", "at least 100ms"),
        ("tiers[7].size=1Gi", "tiers[7].size", "the list has 3 entries"),
        ("node", "`node`", "there is no `=`"),
    ];
    for (set, field, allowed) in corpus {
        for checking in [true, false] {
            let output =
                if checking { check(&folder.config(), &["--set", set]) } else { run(&folder, &["--set", set]) };
            let says = standard_error(&output);
            assert_eq!(output.status.code(), Some(2), "{set}: {says}");
            assert!(says.contains(field) && says.contains(allowed), "{set}: {says}");
        }
    }
    assert!(!folder.path().join("root").exists(), "nothing was opened");
}

#[test]
fn all_errors_of_a_file_are_told_at_once() {
    let folder = Folder::new();
    let output = check(
        &folder.config(),
        &["--set", "tiers[0].size=x", "--set", "tiers[1].medium=y", "--set", "policy.hysteresis=0"],
    );
    let says = standard_error(&output);
    for field in ["tiers[0].size: `x`", "tiers[1].medium: `y`", "policy.hysteresis: 0"] {
        assert!(says.contains(field), "{field}: {says}");
    }
}

#[test]
fn a_file_that_is_missing_or_torn_and_wrong_flags_exit_with_2() {
    let folder = Folder::new();
    let missing = check(&folder.path().join("absent.yaml"), &[]);
    assert_eq!(missing.status.code(), Some(2));
    assert!(standard_error(&missing).contains("absent.yaml: No such file"), "{}", standard_error(&missing));
    let torn = folder.path().join("torn.yaml");
    std::fs::write(&torn, "node: [").unwrap();
    let torn = check(&torn, &[]);
    assert_eq!(torn.status.code(), Some(2));
    assert!(standard_error(&torn).contains("torn.yaml") && standard_error(&torn).contains("line"));
    for wrong in [
        vec!["--max-running", "0"],
        vec!["--max-request-mebibytes", "71"],
        vec!["--grace-period", "soon"],
        vec!["--log-format", "xml"],
        vec!["--no-such-flag"],
    ] {
        let output = run(&folder, &wrong);
        assert_eq!(output.status.code(), Some(2), "{wrong:?}: {}", standard_error(&output));
        assert!(standard_error(&output).contains(wrong[0]), "{wrong:?}: {}", standard_error(&output));
    }
    let filter = run(&folder, &["--log", "a=b=c"]);
    assert_eq!(filter.status.code(), Some(2));
    assert!(standard_error(&filter).contains("is not a log filter"), "{}", standard_error(&filter));
}

#[test]
fn flags_win_over_the_environment_and_the_environment_over_the_file() {
    let folder = Folder::new();
    let mention = |environment: &[(&str, &str)], arguments: &[&str]| {
        let output = command()
            .args(["--check-config", "--config"])
            .arg(folder.config())
            .envs(environment.iter().copied())
            .args(arguments)
            .output()
            .unwrap();
        (output.status.code(), standard_error(&output))
    };
    // A value that is wrong shows which of them was taken.
    let (code, says) = mention(&[("THERMOCLINE_MEMORY_LIMIT", "from-environment")], &[]);
    assert_eq!(code, Some(2));
    assert!(says.contains("`from-environment`"), "{says}");
    let (code, says) = mention(&[("THERMOCLINE_MEMORY_LIMIT", "from-environment")], &["--memory-limit", "from-flag"]);
    assert_eq!(code, Some(2));
    assert!(says.contains("`from-flag`") && !says.contains("from-environment"), "{says}");
    let (code, says) = mention(&[("THERMOCLINE_MEMORY_LIMIT", "from-environment")], &["--memory-limit", "128Mi"]);
    assert_eq!(code, Some(0), "{says}");
    let sets = ("THERMOCLINE_SET", "tiers[0].size=one;tiers[1].size=two");
    let (_, says) = mention(&[sets], &[]);
    assert!(says.contains("tiers[0].size: `one`") && says.contains("tiers[1].size: `two`"), "{says}");
    let (_, says) = mention(&[], &["--set", "node='from set'", "--node", "from flag"]);
    assert!(says.contains("`from flag`") && !says.contains("from set"), "a named flag wins over --set: {says}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_override_reaches_the_running_node() {
    let folder = Folder::new();
    let node = NodeProcess::start(
        &folder,
        &["--range-end", "m", "--set", "tiers[2].size=3Gi", "--set", "policy={generation: 7, paused: true}"],
    );
    let request = v1::StatusRequest { interval_ms: 0, once: true };
    let mut stream = node.admin().await.status(request).await.unwrap().into_inner();
    let status = stream.message().await.unwrap().unwrap();
    assert_eq!(status.range_end, "m");
    assert_eq!(status.policy_generation, 7);
    assert_eq!(status.mover.unwrap().state, "paused");
    assert!(status.tiers[2].capacity_bytes <= 3 << 30);
    node.kv().await.put(put("key", "value")).await.unwrap();
}

#[test]
fn help_and_version_say_what_a_person_needs() {
    let help = command().arg("--help").output().unwrap();
    let text = String::from_utf8(help.stdout).unwrap();
    for part in
        ["--check-config", "THERMOCLINE_CONFIG", "Exit codes: 0 stopped as asked", "3 the data folder is in use"]
    {
        let one_line = text.split_whitespace().collect::<Vec<_>>().join(" ");
        assert!(one_line.contains(part), "{part}: {text}");
    }
    let version = command().arg("--version").output().unwrap();
    assert_eq!(
        String::from_utf8(version.stdout).unwrap().trim(),
        concat!("thermocline-node ", env!("CARGO_PKG_VERSION"))
    );
}

#[test]
fn logs_can_be_json_one_object_a_line() {
    let folder = Folder::new();
    let node = NodeProcess::start(&folder, &["--log-format", "json"]);
    let log = support::within("the log", || Some(node.log()).filter(|log| log.contains("ready")));
    for line in log.lines() {
        let entry: serde_json::Value = serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"));
        assert!(entry["level"].is_string() && entry["timestamp"].is_string(), "{line}");
    }
}
