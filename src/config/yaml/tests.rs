use super::{received, text};

// workload 33
#[test]
fn a_string_that_yaml_parses_as_a_string_is_plain() {
    let plain = [
        "foo",
        "us-east-1",
        "https://example.com/x?y=z",
        "12345678-90ab-4cde-8f01-234567890abc",
        "1a",
        "0x",
        "0b2",
        "0xg",
        "1:60",
        "1.2.3",
        "1-2-3",
        "20010-1-1",
        "2001-01-01x",
        "e3",
        "1e",
        // Too large for a number.
        "0x1ffffffffffffffffffff",
        "0o7777777777777777777777777",
        "-0xffffffffffffffff",
        "12345e9999",
        "1e+",
        "+",
        "-",
        "-x",
        "?x",
        ":x",
        "a:b",
        "a#b",
        "yess",
        "truE",
        "nulL",
        "tRue",
        "a'b",
        "a\"b",
        "a, b",
        "a]",
        "größe",
        "a=",
        "..",
        "a ",
        "/var/run/secrets",
    ];
    let single_quoted = |value: &str| matches!(value, "-" | "a ");
    for value in plain {
        let expected = if single_quoted(value) {
            format!("'{value}'")
        } else {
            value.to_owned()
        };
        assert_eq!(text(value), expected, "{value:?}");
    }
}

// workload 33
#[test]
fn a_string_that_yaml_parses_as_another_type_is_double_quoted() {
    let double = [
        "",
        "10",
        "-10",
        "+10",
        "0",
        "017",
        "1e3",
        "1E-3",
        "1.5",
        ".5",
        "5.",
        "-.5e+7",
        "0x1f",
        "-0X1F",
        "0b101",
        "0o17",
        "1_000",
        "12:30:45",
        "-1:30",
        "1:30.5",
        "2001-01-01",
        "2001-1-1",
        "2001-12-14t21:59:43.10-05:00",
        "2001-12-14 21:59:43",
        "true",
        "True",
        "TRUE",
        "false",
        "False",
        "FALSE",
        "yes",
        "Yes",
        "YES",
        "no",
        "No",
        "NO",
        "on",
        "On",
        "ON",
        "off",
        "Off",
        "OFF",
        "y",
        "Y",
        "n",
        "N",
        "null",
        "Null",
        "NULL",
        "~",
        ".inf",
        "-.Inf",
        "+.INF",
        ".nan",
        ".NaN",
    ];
    for value in double {
        assert_eq!(text(value), format!("\"{value}\""));
    }
}

// workload 33
#[test]
fn a_string_with_yaml_syntax_is_single_quoted() {
    let single = [
        ("# foo'bar\"baz", "'# foo''bar\"baz'"), // storage-core 10
        ("# a'b", "'# a''b'"),
        (" a", "' a'"),
        ("a: b", "'a: b'"),
        ("a:", "'a:'"),
        ("a #b", "'a #b'"),
        ("- a", "'- a'"),
        ("---", "'---'"),
        ("...", "'...'"),
        ("*a", "'*a'"),
        ("&a", "'&a'"),
        ("!a", "'!a'"),
        ("|a", "'|a'"),
        (">a", "'>a'"),
        ("%a", "'%a'"),
        ("@a", "'@a'"),
        ("`a", "'`a'"),
        ("[a", "'[a'"),
        ("{a", "'{a'"),
        ("'a", "'''a'"),
        ("\"a", "'\"a'"),
        (",a", "',a'"),
        ("? a", "'? a'"),
        (": a", "': a'"),
    ];
    for (value, expected) in single {
        assert_eq!(text(value), expected);
    }
}

#[test]
fn unprintable_characters_are_escaped_in_double_quotes() {
    let escaped = [
        ("a\tb", r#""a\tb""#),
        ("a\\\t\"", r#""a\\\t\"""#),
        ("\u{1}\0\r", r#""\x01\0\r""#),
        ("\u{2028}\u{85}", r#""\L\N""#),
        ("\u{1f427}", r#""\U0001F427""#),
    ];
    for (value, expected) in escaped {
        assert_eq!(text(value), expected);
    }
}

#[test]
fn a_multi_line_string_is_a_literal_block_unless_the_block_would_change_it() {
    assert_eq!(text("a\nb: c"), "|-\n  a\n  b: c");
    assert_eq!(text("a\n\nb"), "|-\n  a\n\n  b");
    assert_eq!(text(" a\nb"), "|2-\n   a\n  b");
    assert_eq!(text("\na"), "|2-\n\n  a");
    assert_eq!(text("a \nb"), r#""a \nb""#);
    assert_eq!(text("a\n\tb"), r#""a\n\tb""#);
}

// serde_saphyr parses YAML 1.2, so these cases are strings that both versions parse alike.
#[test]
fn an_encoded_string_parses_back_to_the_same_string() {
    for value in [
        "",
        "10",
        "# a'b",
        "a\nb",
        "\u{1}\t\"",
        "-",
        "?x",
        ":x",
        "a: b",
        "größe",
        "\u{1f427}",
        "~",
        " x ",
    ] {
        assert_eq!(
            serde_saphyr::from_str::<String>(&text(value)).unwrap(),
            value,
            "{}",
            text(value)
        );
    }
}

// What gopkg.in/yaml.v2 2.4.0 writes, the encoder of the Go operator, which leaves final newlines out. Known differences: lines of more than
// 80 characters with blanks, which that encoder folds, and U+2028, which it writes so that another value is read.
#[test]
fn the_encoding_is_that_of_the_go_operator() {
    for (value, expected) in [
        ("key\n", "|\n  key"),
        ("12\n", "|\n  12"),
        ("a\n\n", "|+\n  a"),
        ("\n", "|2+"),
        (" a\n", "|2\n   a"),
        ("a \n", r#""a \n""#),
        ("=", "="),
        ("<<", "<<"),
        ("-\u{a0}a", "-\u{a0}a"),
        ("-0x8000000000000000", r#""-0x8000000000000000""#),
        ("-0x8000000000000001", "-0x8000000000000001"),
        ("0b-1", r#""0b-1""#),
        ("0b+1", r#""0b+1""#),
        ("-0b-1", "-0b-1"),
        ("0x+1", "0x+1"),
        (".2_", ".2_"),
        (".2_0", r#"".2_0""#),
        ("2001-02-29", "2001-02-29"),
        ("2004-02-29", r#""2004-02-29""#),
        ("2001-01-01 1:2:3", r#""2001-01-01 1:2:3""#),
        ("2001-01-01T1:2:3", "2001-01-01T1:2:3"),
        ("2001-01-01t1:2:3.5-05:00", r#""2001-01-01t1:2:3.5-05:00""#),
    ] {
        assert_eq!(text(value), expected);
    }
}

// As gopkg.in/yaml.v2 reads it, the parser of the registry; that of YAML 1.2 here adds a newline.
#[test]
fn the_registry_receives_a_value_without_final_newlines() {
    for (value, expected) in [
        ("key", "key"),
        ("key\n", "key"),
        ("a\nb\n\n", "a\nb"),
        ("a \n", "a \n"),
        ("a\tb\n", "a\tb\n"),
    ] {
        assert_eq!(received(value), expected);
    }
}
