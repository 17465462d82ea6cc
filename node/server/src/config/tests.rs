//! A corpus of good and bad configurations: each bad one names its field and what is allowed.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
use std::time::Duration;

use thermocline_node_config::DefaultDurability;

use super::*;

const EXAMPLE: &str = include_str!("../../examples/node.yaml");

fn with(sets: &[&str]) -> Result<Settings, ConfigError> {
    let overrides: Vec<Override> = sets.iter().map(|set| Override::parse(set).unwrap()).collect();
    parse(EXAMPLE, "node.yaml", &overrides)
}

#[test]
fn the_example_is_parsed_into_what_it_says() {
    let settings = with(&[]).unwrap();
    assert_eq!(settings.node, "demo-0");
    assert_eq!(settings.durability, DefaultDurability::Wal);
    assert_eq!(settings.memory_limit, Some(ByteSize::mebibytes(1024)));
    let [hot, warm, cold] = settings.tiers.as_slice() else { panic!("three tiers") };
    assert_eq!((hot.medium, warm.medium, cold.medium), (Medium::Nvme, Medium::Ssd, Medium::Hdd));
    assert_eq!(hot.reserve.bytes(), (1 << 30) / 20, "5 % of the size");
    assert_eq!(cold.reserve, ByteSize::mebibytes(512), "as stated");
    assert_eq!((hot.high_watermark, hot.low_watermark), (0.85, 0.75), "the defaults");
    assert_eq!(cold.throttle, Some(ByteSize::mebibytes(100)));
    assert_eq!(
        cold.profile.compression_per_level,
        [(0, Compression::None), (1, Compression::None), (2, Compression::Lz4)]
    );
    let policy = settings.policy.unwrap();
    assert_eq!(policy.evaluation_interval, Some(Duration::from_secs(3600)));
    assert_eq!(policy.temperatures[0].read_within, Duration::from_secs(3600));
}

#[test]
fn the_smallest_configuration_takes_the_defaults() {
    let text = "{node: a, cluster: c, listen: {kv: '127.0.0.1:0', admin: '127.0.0.1:0', http: '127.0.0.1:0'},
                 tiers: [{name: hot, rank: 0, medium: NVMe, path: /data/hot, size: 1Gi}]}";
    let settings = parse(text, "node.yaml", &[]).unwrap();
    assert_eq!(settings.root, Path::new("/data/hot/root"), "on the fastest tier");
    assert_eq!(settings.memory_limit, None);
    assert_eq!(settings.policy, None);
    assert!(settings.range.contains(b"\xff"));
}

#[test]
fn every_rule_names_its_field_and_what_is_allowed() {
    // (override, field at fault, what the message must say is allowed)
    let corpus = [
        ("node=''", "node", "letters"),
        ("node='a b'", "node", "letters"),
        ("cluster=-x", "cluster", "letters"),
        ("listen.admin='127.0.0.1:7400'", "listen.admin", "port 0"),
        ("range={start: m, end: b}", "range.end", "after range.start"),
        ("range={start: m, end: m}", "range.end", "after range.start"),
        ("root=''", "root", "a folder"),
        ("memoryLimit=1Mi", "memoryLimit", "at least 64Mi"),
        ("memoryLimit=lots", "memoryLimit", "such as 512Mi"),
        ("tiers=[]", "tiers", "1 to 4"),
        ("tiers[0].name=Hot", "tiers[0].name", "lower-case"),
        ("tiers[1].name=hot", "tiers[1].name", "of its own"),
        ("tiers[1].rank=0", "tiers[1].rank", "ranks that grow"),
        ("tiers[2].medium=Tape", "tiers[2].medium", "NVMe, SSD or HDD"),
        ("tiers[2].path=data/hot/in", "tiers[2].path", "of its own"),
        ("tiers[0].path=''", "tiers[0].path", "a folder"),
        ("tiers[1].size=12Q", "tiers[1].size", "such as 512Mi"),
        ("tiers[1].size=1Mi", "tiers[1].size", "at least 8Mi"),
        ("tiers[1].size=-5Gi", "tiers[1].size", "such as 512Mi"),
        ("tiers[2].reserve=16Gi", "tiers[2].reserve", "less than the tier's size"),
        ("tiers[1].highWatermarkPercent=101", "tiers[1].highWatermarkPercent", "2 to 100"),
        ("tiers[1].lowWatermarkPercent=85", "tiers[1].lowWatermarkPercent", "less than highWatermarkPercent (85)"),
        ("tiers[1].lowWatermarkPercent=0", "tiers[1].lowWatermarkPercent", "at least 1"),
        ("tiers[2].throttle=1", "tiers[2].throttle", "at least 4Ki"),
        ("tiers[0].profile.filterBits=0", "tiers[0].profile.filterBits", "1 to 30"),
        ("tiers[0].profile.compression=gzip", "tiers[0].profile.compression", "none, lz4 or zstd"),
        ("tiers[0].profile.compressionLevel=20", "tiers[0].profile.compressionLevel", "1 to 19"),
        ("tiers[0].profile.compressionDictionary=2Mi", "tiers[0].profile.compressionDictionary", "at most 1Mi"),
        (
            "tiers[2].profile.compressionPerLevel={\"9\": none}",
            "tiers[2].profile.compressionPerLevel[\"9\"]",
            "\"0\" to \"6\"",
        ),
        (
            "tiers[2].profile.compressionPerLevel={\"1\": lzw}",
            "tiers[2].profile.compressionPerLevel[\"1\"]",
            "none, lz4 or zstd",
        ),
        ("tiers[0].profile.blockSize=100", "tiers[0].profile.blockSize", "at least 1Ki"),
        ("tiers[0].profile.openFiles=1", "tiers[0].profile.openFiles", "16 to 1000000"),
        ("tiers[0].profile.writeBuffer=1", "tiers[0].profile.writeBuffer", "at least 64Ki"),
        ("tiers[0].profile.cache=1", "tiers[0].profile.cache", "at least 1Mi"),
        ("shards={clusterId: c, source: 0.0.0.0}", "shards.source", "own addresses"),
        ("policy.temperatures[0].tier=cool", "policy.temperatures[0].tier", "hot, warm"),
        ("policy.temperatures[1].tier=cold", "policy.temperatures[1].tier", "the slowest tier takes the rest"),
        ("policy.temperatures[1].tier=hot", "policy.temperatures[1].tier", "fastest first"),
        ("policy.temperatures[0].reads=-1", "policy.temperatures[0].reads", "0 or more"),
        ("policy.temperatures[0].reads=.nan", "policy.temperatures[0].reads", "0 or more"),
        ("policy.temperatures[0].per=day", "policy.temperatures[0].per", "such as 500ms"),
        ("policy.temperatures[0].readWithin=0s", "policy.temperatures[0].readWithin", "at least 1ms"),
        ("policy.evaluationInterval=1ms", "policy.evaluationInterval", "at least 100ms"),
        ("policy.minResidency=ten", "policy.minResidency", "such as 500ms"),
        ("policy.hysteresis=0.5", "policy.hysteresis", "1 to 1000"),
        ("policy.bytesPerSecond=1", "policy.bytesPerSecond", "at least 1Ki"),
    ];
    for (set, field, allowed) in corpus {
        match with(&[set]) {
            Err(ConfigError::Invalid { problems }) => {
                let found = problems.iter().find(|problem| problem.field == field);
                let found = found.unwrap_or_else(|| panic!("{set}: no problem at {field}: {problems:?}"));
                assert!(found.allowed.contains(allowed), "{set}: {found}");
            }
            other => panic!("{set}: {other:?}"),
        }
    }
}

#[test]
fn what_the_types_refuse_is_named_with_its_path() {
    let corpus = [
        ("tiers[1].sise=1Gi", "tiers[1]", "unknown field `sise`"),
        ("listen.kv=nowhere", "listen.kv", "invalid socket address"),
        ("durability=never", "durability", "`sync`, `wal`, `buffered`"),
        ("tiers[1].rank=-1", "tiers[1].rank", "u32"),
        ("port=1", "", "unknown field `port`"),
    ];
    for (set, path, says) in corpus {
        let message = with(&[set]).unwrap_err().to_string();
        assert!(message.contains(path) && message.contains(says), "{set}: {message}");
    }
    let missing = parse("{node: a}", "node.yaml", &[]).unwrap_err().to_string();
    assert!(missing.contains("missing field `cluster`"), "{missing}");
    let torn = parse("node: [", "node.yaml", &[]).unwrap_err().to_string();
    assert!(torn.contains("node.yaml") && torn.contains("line"), "{torn}");
}

#[test]
fn all_problems_are_reported_at_once() {
    let error = with(&["tiers[0].size=x", "tiers[1].medium=y", "policy.hysteresis=0"]).unwrap_err();
    let text = error.to_string();
    for field in ["tiers[0].size: `x`", "tiers[1].medium: `y`", "policy.hysteresis: 0"] {
        assert!(text.contains(field), "{field} is missing from: {text}");
    }
}

#[test]
fn a_file_may_leave_out_what_an_override_supplies() {
    let text = EXAMPLE.replace("node: demo-0", "");
    assert!(parse(&text, "node.yaml", &[]).is_err());
    let settings = parse(&text, "node.yaml", &[Override::text("node", "demo-7")]).unwrap();
    assert_eq!(settings.node, "demo-7");
}

#[test]
fn a_missing_file_is_named() {
    let error = load(Path::new("/nowhere/node.yaml"), &[]).unwrap_err();
    assert!(error.to_string().contains("/nowhere/node.yaml"), "{error}");
}
