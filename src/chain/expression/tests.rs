//! The language by tables: what expr-lang (v1.17) gives is what is expected, and what differs stands in [`what_differs`].

use std::sync::Arc;

use corefile::{Memory, Report};
use wire::{Edns, NameBuf, Qname, Type};

use super::{Element, Error, Expression, Function, Kind, Names, Value, Values};
use crate::transport::Transport;
use crate::{Block, Exchange, Query};

/// The value of `text` for a query, or what is wrong with it.
fn value(text: &str) -> String {
    with(&Names::default(), &(), text)
}

fn with(names: &Names<'_>, values: &dyn Values, text: &str) -> String {
    let expression = match Expression::compile(text, names) {
        Ok(expression) => expression,
        Err(mistake) => return format!("{}: {}", mistake.place.start + 1, mistake.message),
    };
    asked(|query| match expression.evaluate(query, values) {
        Ok(Value::Text(text)) => format!("{text:?}"),
        Ok(value) => value.to_string(),
        Err(error) => format!("error: {error}"),
    })
}

/// Asks for `www.Example.org`, AAAA, from 192.0.2.1, with DO.
fn asked<T>(work: impl FnOnce(&Query<'_>) -> T) -> T {
    let block: Arc<Block> = crate::tests::block(Vec::new());
    let mut exchange: Box<Exchange> = crate::tests::query(Transport::Udp);
    let name: NameBuf = "www.Example.org.".parse().unwrap();
    exchange.parsed.qname = Qname::from(name.as_name());
    exchange.parsed.qtype = Type::AAAA;
    exchange.parsed.id = 4_711;
    exchange.parsed.edns = Some(Edns {
        udp_size: 1_232,
        extended_rcode: 0,
        version: 0,
        flags: Edns::DO,
        options_start: 0,
        options_end: 0,
    });
    exchange.context.peer = "[::ffff:192.0.2.1]:40212".parse().unwrap();
    exchange.context.local = "[2001:db8::53]:5353".parse().unwrap();
    work(&exchange.views(&block).0)
}

fn table(rows: &[(&str, &str)]) {
    for (text, expected) in rows {
        assert_eq!(value(text), *expected, "{text}");
    }
}

#[test]
fn the_language() {
    table(&[
        // Literals.
        ("nil", "<nil>"),
        ("true", "true"),
        ("42", "42"),
        ("1.5", "1.5"),
        ("'hello'", "\"hello\""),
        ("\"a\\tb\\\\.\\u00e9\\x41\\101\"", "\"a\\tb\\\\.éAA\""),
        ("`a\\.b`", "\"a\\\\.b\""),
        ("[1, 2, 3]", "[1 2 3]"),
        ("[1, 2,]", "[1 2]"),
        ("{a: 1, 'b': 'two',}", "map[a:1 b:two]"),
        ("0x2A + 0o52 + 0b101010 + 1_000_000", "1000126"),
        ("0x_2A", "42"),
        (
            "[.5, 1e3, 1.2e-4, 1_000.5_0e-2]",
            "[0.5 1000 0.00012 10.005]",
        ),
        // Operators and how they bind.
        ("1 + 2 * 3", "7"),
        ("(1 + 2) * 3", "9"),
        ("2 ** 3 ** 2", "512"),
        ("2 ^ -1", "0.5"),
        ("-2 ** 2", "-4"),
        ("1 + 0.5", "1.5"),
        ("5 / 2", "2.5"),
        ("7 % 4", "3"),
        ("'a' + 'b'", "\"ab\""),
        ("1 == 1.0", "true"),
        ("1 < 1.5", "true"),
        ("'a' < 'b'", "true"),
        ("1 < 2 < 3", "true"),
        ("1 < 3 < 2", "false"),
        ("not false and true", "true"),
        ("!true || true && false", "false"),
        ("false and 1 % 0 == 1", "false"),
        ("true or 1 % 0 == 1", "true"),
        ("nil ?? 'fallback'", "\"fallback\""),
        ("true ? 'yes' : 'no'", "\"yes\""),
        ("false ? 1 : true ? 2 : 3", "2"),
        ("true ?: false", "true"),
        (
            "if 1 > 2 { 'a' } else if 2 > 1 { 'b' } else { 'c' }",
            "\"b\"",
        ),
        ("2 in [1, 2, 3]", "true"),
        ("2 not in [1, 3]", "true"),
        ("'name' not in {other: 1}", "true"),
        ("'hello' startsWith 'he'", "true"),
        ("'hello' not endsWith 'lo'", "false"),
        ("'hello' contains 'll'", "true"),
        ("'hello' matches '^h'", "true"),
        ("'hello' not matches '^h'", "false"),
        ("'hello' matches '^' + 'h'", "true"),
        ("1..3", "[1 2 3]"),
        ("1 + 1..2 + 2", "[2 3 4]"),
        ("9223372036854775807 + 1", "-9223372036854775808"),
        // Elements and slices.
        ("[1, 2, 3][-1]", "3"),
        ("[1, 2, 3, 4][1:3]", "[2 3]"),
        ("[1, 2][2:1]", "[]"),
        ("[1, 2][-99:]", "[1 2]"),
        ("'héllo'[1:3]", "\"él\""),
        ("{'display-name': 'x'}['display-name']", "\"x\""),
        ("{a: {b: 2}}.a.b", "2"),
        ("{a: 1}.missing", "<nil>"),
        ("{a: 1}.missing?.b", "<nil>"),
        ("[1][5]", "error: index out of range: 5"),
        // Names of its own.
        ("let x = 2; x * 3", "6"),
        ("let x = 2; let y = x + 1; x * y", "6"),
        ("(let x = 2; x) + 1", "3"),
        // Predicates.
        ("any([1, 2], # > 1)", "true"),
        ("all([1, 2], {# > 1})", "false"),
        ("none([1, 2], # > 2)", "true"),
        ("one([1, 2], # > 1)", "true"),
        ("map([1, 2, 3], {# * 2})", "[2 4 6]"),
        ("map([10, 20, 30], #index)", "[0 1 2]"),
        ("filter(1..9, # % 2 == 0)", "[2 4 6 8]"),
        ("count([true, false, true])", "2"),
        ("count([1, 2, 3], # > 1)", "2"),
        ("find([1, 2, 3], # > 1)", "2"),
        ("findLast([1, 2, 3], # > 1)", "3"),
        ("findIndex([1, 2, 3], # > 1)", "1"),
        ("findLastIndex([1, 2, 3], # > 1)", "2"),
        ("find([1], # > 1)", "<nil>"),
        ("let n = 2; any([[1], [n]], any(#, # == n))", "true"),
        ("[1, 2, 3] | filter(# > 1) | len()", "2"),
        ("any(split('a,b', ','), # == 'b')", "true"),
        // Comments.
        ("1 /* one */ + 1 // two", "2"),
    ]);
}

#[test]
fn functions() {
    table(&[
        ("len('é🙂') + len([1]) + len({a: 1})", "4"),
        (
            "[abs(-5), abs(-1.5), ceil(1.5), floor(1.5), round(-1.5)]",
            "[5 1.5 2 1 -2]",
        ),
        ("[int('42'), int(1.9), int(3)]", "[42 1 3]"),
        ("int('x')", "error: invalid operation: int(x)"),
        ("float('1.5') + float(5)", "6.5"),
        (
            "string(42) + string(1.5) + string(true) + string(1000000.0)",
            "\"421.5true1e+06\"",
        ),
        ("upper('mise') + lower('MISE')", "\"MISEmise\""),
        ("trim('  a ') + trim('__a__', '_')", "\"aa\""),
        (
            "trimPrefix('abc', 'a') + trimSuffix('abc', 'c')",
            "\"bcab\"",
        ),
        ("split('a,b,c', ',', 2)", "[a b,c]"),
        ("splitAfter('a,b', ',')", "[a, b]"),
        ("len(split('abc', ',', 0))", "0"),
        ("split('abc', '')", "[a b c]"),
        ("replace('foo,bar,baz', ',', '-', 1)", "\"foo-bar,baz\""),
        ("replace('10-0-0-1', '-', '.')", "\"10.0.0.1\""),
        ("repeat('ab', 3)", "\"ababab\""),
        ("repeat('x', -1)", "error: repeat: a negative count"),
        ("join(['a', 'b'], '-') + join(['a', 'b'])", "\"a-bab\""),
        ("indexOf('apple', 'p') + lastIndexOf('apple', 'p')", "3"),
        ("indexOf('apple', 'x')", "-1"),
        (
            "hasPrefix('apple', 'ap') && hasSuffix('apple', 'le')",
            "true",
        ),
        ("[max(5, 7), min(5, 7), max([1, [5, 3]], 4)]", "[7 5 5]"),
        (
            "max(9007199254740992, 9007199254740993)",
            "9007199254740993",
        ),
        ("[first([1, 2]), last([1, 2]), first([])]", "[1 2 <nil>]"),
        (
            "[get([1, 2], 1), get([1, 2], 9), get({a: 1}, 'a')]",
            "[2 <nil> 1]",
        ),
        ("[keys({a: 1}), values({a: 1})]", "[[a] [1]]"),
        ("concat(reverse([1, 2]), [3])", "[2 1 3]"),
        (
            "[bitand(14, 11), bitor(1, 2), bitxor(3, 1), bitnand(5, 1), bitnot(0)]",
            "[10 3 2 4 -1]",
        ),
        (
            "[bitshl(1, 4), bitshr(-16, 2), bitushr(-5, 2)]",
            "[16 -4 4611686018427387902]",
        ),
    ]);
}

#[test]
fn what_the_query_says() {
    table(&[
        ("name()", "\"www.example.org.\""),
        ("type()", "\"AAAA\""),
        ("class()", "\"IN\""),
        ("client_ip() + ' ' + port()", "\"192.0.2.1 40212\""),
        ("server_ip() + ' ' + server_port()", "\"2001:db8::53 5353\""),
        ("proto()", "\"udp\""),
        ("do()", "true"),
        ("[id(), opcode(), bufsize()]", "[4711 0 1232]"),
        ("size() > 16", "true"),
        ("metadata('view/name')", "\"\""),
        ("incidr(client_ip(), '192.0.2.0/24')", "true"),
        ("incidr(client_ip(), '192.0.2.77/24')", "true"),
        ("incidr(client_ip(), '198.51.100.0/24')", "false"),
        ("incidr(client_ip(), '::/0')", "false"),
        ("incidr(server_ip(), '2001:db8::/32')", "true"),
        ("incidr('1:2::3:4', '1:2::/64')", "true"),
        ("incidr('A:2::3:4', '1:2::/64')", "false"),
        (
            "any(['10.0.0.0/8', '192.0.0.0/16'], incidr(client_ip(), #))",
            "true",
        ),
        (
            "incidr('notanip', '10.0.0.0/8')",
            "error: first argument is not an IP address",
        ),
        (
            "incidr('1.2.3.4', 'in' + 'valid')",
            "error: invalid CIDR address: invalid",
        ),
        (
            "type() in ['A', 'AAAA'] && name() endsWith '.example.org.'",
            "true",
        ),
        (
            "(type() == 'A' && name() == 'example.com') || client_ip() == '192.0.2.1'",
            "true",
        ),
        ("name() matches '^www\\\\..*\\\\.org\\\\.$'", "true"),
    ]);
}

#[test]
fn mistakes() {
    table(&[
        ("invalid expression", "1: unknown name `invalid`"),
        ("nane() == 'x'", "1: unknown function `nane`"),
        ("name == 'x'", "1: `name` is a function"),
        ("name() == example", "11: unknown name `example`"),
        (
            "name() == 1",
            "8: invalid operation: `==` between string and int",
        ),
        (
            "name() + 1",
            "8: invalid operation: `+` between string and int",
        ),
        (
            "1 + 'x'",
            "3: invalid operation: `+` between int and string",
        ),
        (
            "true and 1",
            "6: invalid operation: `&&` between bool and int",
        ),
        ("not 1", "5: `not` needs bool, not int"),
        ("!name() == 'x'", "2: `not` needs bool, not string"),
        ("-'a'", "2: a sign needs a number, not string"),
        ("1 ? 2 : 3", "1: a choice needs bool before `?`, not int"),
        ("if 1 { 2 } else { 3 }", "4: `if` needs bool, not int"),
        (
            "'a' in 'abc'",
            "5: invalid operation: `in` between string and string",
        ),
        (
            "1 in ['a']",
            "3: invalid operation: `in` between int and array of string",
        ),
        (
            "1 matches 'a'",
            "3: invalid operation: `matches` between int and string",
        ),
        (
            "'a' matches '('",
            "14: bad regular expression: unclosed group",
        ),
        ("'a\\.b'", "3: unknown escape `\\.`"),
        ("'a", "1: the text does not end"),
        ("1__0", "1: bad number `1__0`"),
        ("9223372036854775808", "1: bad number `9223372036854775808`"),
        (
            "name(1)",
            "1: too many arguments to call `name`: 0 wanted, 1 given",
        ),
        (
            "incidr(client_ip())",
            "1: not enough arguments to call `incidr`: 2 wanted, 1 given",
        ),
        (
            "incidr(client_ip(), '10.0.0.0/33')",
            "21: \"10.0.0.0/33\" is no prefix in CIDR notation",
        ),
        (
            "incidr(client_ip(), 10)",
            "21: cannot use int as argument of `incidr`, which wants string",
        ),
        (
            "upper(1)",
            "7: cannot use int as argument of `upper`, which wants string",
        ),
        (
            "any(1, # > 1)",
            "5: cannot use int as argument of `any`, which wants array",
        ),
        ("any([1], 1)", "10: the predicate of `any` is int, not bool"),
        ("any([1])", "8: `any` needs a predicate: `any(…, # > 1)`"),
        (
            "# > 1",
            "1: `#` has a meaning only in a predicate: `any(…, # > 1)`",
        ),
        (
            "any(['a'], # > 1)",
            "14: invalid operation: `>` between string and int",
        ),
        ("(1 + 2", "7: expected `)`, found the end"),
        ("1 2", "3: unexpected `2`"),
        ("1 +", "4: unexpected the end"),
        ("", "1: unexpected the end"),
        ("1 & 2", "3: unexpected `&`"),
        ("1 § 2", "3: unrecognized character '§'"),
        (
            "now().Hour() > 8",
            "1: expr-lang has the function `now`, nameplate does not",
        ),
        (
            "let name = 1; name",
            "5: cannot declare `name`: there is something of this name",
        ),
        ("[1]['a']", "5: an index is int, not string"),
        ("1.a", "1: bad number `1.a`"),
        ("'x'.y", "5: string has no members"),
    ]);
    let deep = format!("{}1{}", "(".repeat(200), ")".repeat(200));
    assert!(value(&deep).ends_with("the expression nests too deep"));
    let unary = "-".repeat(100_000);
    assert!(value(&unary).ends_with("the expression nests too deep"));
}

/// `matches` reads Go's syntax, at load and with a query.
#[test]
fn patterns_are_those_of_go() {
    table(&[
        // For the crate `regex` these are `[a&&b]`, an intersection, and `\<`, the start of a word.
        ("'&' matches '^[a&&b]$'", "true"),
        ("'a<b' matches 'a\\\\<b'", "true"),
        ("'٣' matches '\\\\d'", "false"),
        ("'٣' matches '\\\\d' + ''", "false"),
        (
            "'a' matches 'ab**'",
            "17: bad regular expression: invalid nested repetition operator: `*`",
        ),
        (
            "'a' matches 'b' + '(?=a)'",
            "error: bad regular expression: invalid or unsupported Perl syntax: `(?=a`",
        ),
    ]);
}

/// An evaluation has a bound, whatever it evaluates again and again or copies.
#[test]
fn evaluation_is_bounded() {
    let beyond = "error: the expression takes more than 50000 steps";
    let mut doubled = "let a0 = repeat('x', 60000); ".to_owned();
    let mut listed = "let a0 = 1..1000; ".to_owned();
    for turn in 1..40 {
        let before = turn - 1;
        doubled.push_str(&format!("let a{turn} = a{before} + a{before}; "));
        listed.push_str(&format!("let a{turn} = [a{before}, a{before}]; "));
    }
    doubled.push_str("len(a39)");
    listed.push_str("len(a39)");
    table(&[
        ("len(filter(1..10000, {# > 1})) > 0", "true"),
        (
            "len(filter(1..10000, {len(filter(1..10000, {len(filter(1..10000, {# > 1})) > 1})) > 0})) > 0",
            beyond,
        ),
        ("let x = 1..60000; any(1..30000, len(x) == #)", beyond),
        ("len(map(1..10000, repeat('x', 60000)))", beyond),
        ("any(1..10000, 'a' matches 'b' + string(#))", beyond),
        ("any(map(1..100, 1..10000), len(#) == 1)", beyond),
        (
            "replace(repeat('x', 60000), 'x', repeat('y', 60000))",
            "error: replace: the text is too long",
        ),
        (
            "join([repeat('x', 60000), repeat('x', 60000)])",
            "error: join: the text is too long",
        ),
        (&doubled, "error: +: the text is too long"),
        (&listed, beyond),
    ]);
}

/// What is read or answered otherwise than by expr-lang.
#[test]
fn what_differs() {
    table(&[
        // expr-lang slices a text by octets, and may cut a character in two.
        ("'é'[0:1]", "\"é\""),
        // expr-lang knows dates, JSON, base64, and what sorts and groups.
        (
            "toJSON([1])",
            "1: expr-lang has the function `toJSON`, nameplate does not",
        ),
        (
            "sort([2, 1])",
            "1: expr-lang has the function `sort`, nameplate does not",
        ),
        // expr-lang reads a constant prefix with every query, and fails then.
        (
            "incidr('1.2.3.4', 'x')",
            "19: \"x\" is no prefix in CIDR notation",
        ),
    ]);
}

/// `group(name)` and the variables `num` and `ip`, as *template* has them.
struct Template;

impl Values for Template {
    fn variable(&self, number: usize) -> Value<'_> {
        match number {
            0 => Value::Int(2),
            _ => Value::text("192.0.2.7"),
        }
    }

    fn call<'v>(&'v self, _: usize, arguments: &[Value<'v>]) -> Result<Value<'v>, Error> {
        match &arguments[0] {
            Value::Text(name) if name == "n" => Ok(Value::text("7")),
            other => Err(Error::new(format!("no group {other}"))),
        }
    }
}

#[test]
fn names_of_a_plugin() {
    let names = Names {
        variables: &[("num", Kind::Int), ("ip", Kind::Text)],
        functions: &[Function {
            name: "group",
            parameters: &[Kind::Text],
            result: Kind::Text,
        }],
    };
    for (text, expected) in [
        ("num > 1", "true"),
        ("int(group('n')) + num", "9"),
        ("any(['10.0.0.0/8', '192.0.2.0/24'], incidr(ip, #))", "true"),
        ("group('m')", "error: no group m"),
        (
            "group(1)",
            "7: cannot use int as argument of `group`, which wants string",
        ),
        (
            "num + 'x'",
            "5: invalid operation: `+` between int and string",
        ),
        ("undefined == 1", "1: unknown name `undefined`"),
        ("nun > 1", "1: unknown name `nun`"),
        ("group", "1: `group` is a function"),
    ] {
        assert_eq!(with(&names, &Template, text), expected, "{text}");
    }
    let kind = |text: &str| Expression::compile(text, &names).unwrap().kind();
    assert_eq!(kind("num"), Kind::Int);
    assert_eq!(kind("num > 1"), Kind::Bool);
    assert_eq!(kind("map([1], string(#))"), Kind::List(Element::Text));
    let labels = Expression::compile("metadata('a/b') == metadata('c/' + ip)", &names).unwrap();
    assert_eq!(labels.labels(), ["a/b"]);
}

#[test]
fn what_is_not_true_is_false() {
    for (text, expected) in [
        ("true", Ok(true)),
        ("false", Ok(false)),
        ("1", Ok(false)),
        ("'true'", Ok(false)),
        ("nil", Ok(false)),
        ("1 % 0 == 0", Err(Error::new("integer divide by zero"))),
    ] {
        let expression = Expression::compile(text, &Names::default()).unwrap();
        assert_eq!(
            asked(|query| expression.is_true(query, &())),
            expected,
            "{text}"
        );
    }
}

/// Where a mistake is told: the words as they stand in the Corefile.
#[test]
fn a_mistake_has_its_place() {
    for (line, place, column) in [
        ("expr name() == 'x'  &&  nane() == 'y'", "nane", 18),
        ("expr \"name() == 'x' && nane()\"", "nane", 18),
        ("expr {$NAMEPLATE_NO_SUCH}nane()", "nane", 1),
        ("expr name() ==", "==", 10),
        (
            "expr any(['10.0.0.0/8'], incidr(client_ip(), #))",
            "incidr",
            40,
        ),
    ] {
        let text = format!(". {{\n{line}\n}}\n");
        let (corefile, _): (_, Report) =
            corefile::parse("Corefile", text.clone().into(), &Memory::new());
        let words = &corefile.blocks[0].directives[0].args;
        let found = Expression::read(words, &Names::default()).expect_err("a mistake");
        let wanted = format!("the expression is wrong at its column {column}: ");
        assert!(found.message.starts_with(&wanted), "{}", found.message);
        // What ends too early, outside of quotes, may have lost what stands behind a `#`.
        assert_eq!(
            found
                .help
                .as_ref()
                .is_some_and(|help| help.contains("begins a comment")),
            found.message.ends_with("the end"),
            "{line}"
        );
        let span = found.span().expect("a place");
        let told = &text[span.start as usize..span.end as usize];
        assert!(
            told.starts_with(place) || told.contains('{'),
            "{line}: {told:?}"
        );
    }
}
