use proptest::prelude::*;

use super::*;

#[test]
fn integers_within_64_bits_stay_integers() {
    for (literal, number) in [
        ("0", Value::from(0)),
        ("-1", Value::from(-1)),
        ("9007199254740993", Value::from(9_007_199_254_740_993_i64)),
        ("9223372036854775807", Value::from(i64::MAX)),
        ("-9223372036854775808", Value::from(i64::MIN)),
        ("18446744073709551615", Value::from(u64::MAX)),
    ] {
        assert_eq!(parse(literal), Ok(number), "{literal}");
    }
}

/// The literals that writers in C, PHP and Go print with `%.17g`, exact decimals, ties, and literals out of range on either side.
#[test]
fn other_literals_read_as_the_nearest_double() {
    for (literal, float) in [
        ("2.98023223876953125E-8", 2.0_f64.powi(-25)),
        ("0.10000000000000001", 0.1),
        ("0.30000000000000004440892", 0.1 + 0.2),
        ("0.12345678901234567890", 0.123_456_789_012_345_68),
        ("140635632025307.12", 140_635_632_025_307.13),
        ("140635632025307.13", 140_635_632_025_307.13),
        ("3.14159265358979323846", std::f64::consts::PI),
        ("9007199254740993.0", 9_007_199_254_740_992.0),
        ("1.0", 1.0),
        ("1.10", 1.1),
        ("-1E-7", -1e-7),
        ("0e9", 0.0),
        ("0e99999999999999999999", 0.0),
        ("1e23", 1e23),
        ("18446744073709551616", 18_446_744_073_709_551_616.0),
        ("-9223372036854775809", -9_223_372_036_854_775_808.0),
        ("123456789012345678901234567890", 123_456_789_012_345_680_000_000_000_000.0),
        ("1.7976931348623157e308", f64::MAX),
        ("5e-324", 5e-324),
        ("1e-400", 0.0),
        ("1e-99999999999999999999", 0.0),
        ("0.5e-9223372036854775808", 0.0),
        ("2.4703282292062328e-324", 5e-324),
    ] {
        let read = parse(literal).unwrap_or_else(|e| panic!("{literal}: {e}"));
        assert!(read.is_f64(), "{literal} is an integer now");
        assert_eq!(read.as_f64().map(f64::to_bits), Some(float.to_bits()), "{literal}");
        assert_eq!(parse(&read.to_string()), Ok(read), "{literal} changes when it is written");
    }
    for (literal, sign) in [("-0", -0.0_f64), ("-0.0", -0.0), ("-1e-400", -0.0)] {
        assert_eq!(parse(literal).expect(literal).as_f64().map(f64::to_bits), Some(sign.to_bits()), "{literal}");
    }
    let tiny = format!("0.{}1e400", "0".repeat(399));
    assert_eq!(parse(&tiny).expect("one").as_f64(), Some(1.0));
    let long = format!("1{}e-400", "0".repeat(400));
    assert_eq!(parse(&long).expect("one").as_f64(), Some(1.0));
}

#[test]
fn only_overflowing_numbers_are_refused() {
    let long = "9".repeat(400);
    for literal in
        ["1e400", "1E400", "-1e400", "1e309", "1.7976931348623159e308", "1e99999999999999999999", "1e9223372036854775808", &long]
    {
        let error = parse(literal).expect_err(literal);
        assert!(error.cause().starts_with("the number ") && error.cause().contains("beyond the largest 64-bit float"), "{error}");
        assert!(error.cause().len() < 120, "{error}");
        assert_eq!((error.line(), error.column(), error.remedy()), (1, 1, "send it as a string"));
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(20_000))]

    /// Any float, including those that often lie halfway between two decimals of as few digits as identify them.
    #[test]
    fn written_floats_are_read_back_exactly(bits in any::<u64>(), odd in (1_u64 << 52)..(1 << 53), halvings in 0..12) {
        for float in [f64::from_bits(bits), odd as f64 / 2_f64.powi(halvings)] {
            if let Some(number) = Number::from_f64(float) {
                prop_assert_eq!(parse(&number.to_string()), Ok(Value::Number(number.clone())));
                // As C's %.17g prints it, with more digits than are needed.
                prop_assert_eq!(parse(&format!("{float:.16e}")), Ok(Value::Number(number)));
            }
        }
    }

    /// A literal with any number of digits reads as the standard library reads it: rounded to nearest.
    #[test]
    fn literal_of_any_length_reads_as_the_nearest_double(literal in r"-?(0|[1-9][0-9]{0,30})(\.[0-9]{1,40})?([eE][+-]?[0-9]{1,4})?") {
        let nearest: f64 = literal.parse().expect("a number");
        match parse(&literal) {
            Ok(Value::Number(number)) if number.is_f64() => {
                prop_assert_eq!(number.as_f64().map(f64::to_bits), Some(nearest.to_bits()));
            }
            Ok(integer) => prop_assert_eq!(integer.to_string(), literal),
            Err(error) => prop_assert!(nearest.is_infinite() && error.cause().contains("beyond"), "{}", error),
        }
    }

    /// Every error has a place within the text and a message of our own.
    #[test]
    fn every_refused_text_is_explained(text in r#"[\[\]{},:"\\ua-d0-9.eE+\-ntrf /\n]{0,24}"#) {
        if let Err(error) = parse(&text) {
            prop_assert!(explain::fault(&text, MAX_DEPTH).is_some(), "{:?}: {}", text, error);
            prop_assert!(error.line() <= text.matches('\n').count() + 1);
        } else {
            prop_assert_eq!(explain::fault(&text, MAX_DEPTH), None, "{:?}", text);
        }
    }
}

#[test]
fn numbers_inside_strings_are_text() {
    assert!(parse(r#"{"a\"1e999": "1e999", "b": [1, "\\", 2.5]}"#).is_ok());
}

#[test]
fn errors_give_line_and_column_in_characters() {
    for (text, line, column) in [
        ("{\n \"a\": 1e999999999999\n}", 2, 7),
        ("[\"ä€🦀\", NaN]", 1, 9),
        ("{\"a\": 1,\n\"b\": [1, 2,]}", 2, 11),
        ("[1,\n\n 1e400]", 3, 2),
        ("", 1, 1),
        ("[1,", 1, 4),
    ] {
        let error = parse(text).expect_err(text);
        assert_eq!((error.line(), error.column()), (line, column), "{text}: {error}");
    }
}

#[test]
fn deep_nesting_is_refused() {
    let deep = |n: usize| format!("{}{}", "[".repeat(n), "]".repeat(n));
    assert!(parse(&deep(MAX_DEPTH)).is_ok());
    for levels in [MAX_DEPTH + 1, 127, 128, 100_000] {
        let error = parse(&deep(levels)).expect_err("too deep");
        assert_eq!((error.cause(), error.column()), ("nested deeper than 100 levels", 101), "{levels}");
    }
    assert!(parse_document(deep(MAX_DOCUMENT_DEPTH).as_bytes()).is_ok());
    let error = parse_document(deep(MAX_DOCUMENT_DEPTH + 1).as_bytes()).expect_err("too deep");
    assert_eq!(error.cause(), "nested deeper than 104 levels");
}

#[test]
fn byte_order_mark_is_allowed_only_at_the_start() {
    assert_eq!(parse("\u{feff}{\"a\": 1}").expect("an object")["a"], 1);
    assert_eq!(parse_document(b"\xef\xbb\xbf[1]").expect("a list")[0], 1);
    let error = parse("[\u{feff}]").expect_err("in the middle");
    assert_eq!((error.column(), error.cause()), (2, "a byte order mark that is not at the start"));
}
