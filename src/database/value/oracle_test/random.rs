//! Random values, and series of them, against a real PostgreSQL.

use super::super::{Encoder, Rule};
use super::{compare, connect, query, token};
use sqlx::Row as _;

/// A generator with a fixed seed (`SplitMix64`), so that a failure comes back.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, limit: u32) -> u32 {
        u32::try_from(self.next() % u64::from(limit)).unwrap()
    }

    fn pick<T: Copy>(&mut self, choices: &[T]) -> T {
        choices[usize::try_from(self.below(u32::try_from(choices.len()).unwrap())).unwrap()]
    }

    /// Decimal digits in which runs of 0 or 9 are frequent: there carries and groups go wrong.
    fn digits(&mut self, count: u32) -> String {
        let digits = self.pick(&["0123456789", "0000000001", "9999999990", "0999999995"]);
        (0..count).map(|_| char::from(self.pick(digits.as_bytes()))).collect()
    }
}

#[tokio::test]
async fn random_numbers_print_and_round_as_the_server_does() {
    let Some(mut connection) = connect().await else {
        return;
    };
    let mut random = Random(1);
    let mut numerics = Vec::new();
    for _ in 0..4000 {
        let (whole, fraction) = (1 + random.below(40), random.below(30));
        let text = format!("{}.{}", random.digits(whole), random.digits(fraction));
        numerics.push(text.trim_end_matches('.').to_owned());
    }
    let safe = "(n <> trunc(n) OR abs(n) <= 9007199254740991)";
    for places in [0_i32, 1, 4, 7, 25] {
        let rounded = format!(
            "SELECT v, trim_scale(n)::text, {safe} FROM (SELECT v, round(v, {places}) FROM (SELECT t::numeric * (1 - 2 * (length(t) % 2)) FROM unnest($1::text[]) AS u(t)) AS s(v)) AS s(v, n)"
        );
        for row in query(rounded).bind(&numerics).fetch_all(&mut connection).await.unwrap() {
            let token = token(&row, Rule::Decimals(u32::try_from(places).unwrap()));
            let expected: String = row.get(1);
            assert_eq!(token.is_ok(), row.get::<bool, _>(2), "{expected}");
            assert!(token.is_err() || token == Ok(expected));
        }
    }
    for row in query(
        "SELECT v, trim_scale(v)::text FROM (SELECT t::numeric FROM unnest($1::text[]) AS u(t)) AS s(v)".to_owned(),
    )
    .bind(&numerics)
    .fetch_all(&mut connection)
    .await
    .unwrap()
    {
        assert_eq!(token(&row, Rule::Text).unwrap(), format!("\"{}\"", row.get::<String, _>(1)));
    }
    let texts: Vec<String> = numerics.iter().map(|text| format!("[{text},)")).collect();
    compare(&mut connection, "numrange", "to_json(format('%s', v))::text", &texts).await;
}

#[tokio::test]
async fn random_floats_print_and_round_as_the_server_does() {
    let Some(mut connection) = connect().await else {
        return;
    };
    let mut random = Random(3);
    let mut floats = vec![1e23, 9e22, 5e-324, f64::MIN_POSITIVE, 2_f64.powi(53), 1e15, 1e14, 1e-5];
    for exponent in -1074..1024 {
        floats.push(2_f64.powi(exponent));
    }
    while floats.len() < 20_000 {
        let any = f64::from_bits(random.next());
        let shift = i32::try_from(random.below(40)).unwrap() - 20;
        let near_one = (f64::from(random.below(u32::MAX)) + 0.1) * 10_f64.powi(shift);
        floats.extend(
            [any, near_one, (near_one * 1000.0).round() / 1000.0].into_iter().filter(|value| value.is_finite()),
        );
    }
    let sql = "SELECT v, v::text, to_json(format('%s', point(v, -v)))::text, trim_scale(round(v::text::numeric, 3))::text FROM unnest($1::float8[]) AS u(v)";
    for row in query(sql.to_owned()).bind(&floats).fetch_all(&mut connection).await.unwrap() {
        let value: f64 = row.get(0);
        let plain: f64 = token(&row, Rule::Plain).unwrap().parse().unwrap();
        assert_eq!(plain.to_bits(), (value + 0.0).to_bits());
        let mut point = Vec::new();
        let bytes = [value.to_be_bytes(), (-value).to_be_bytes()].concat();
        Encoder::postgres(600, Rule::Plain).unwrap().write(Some(&bytes), &mut point).unwrap();
        assert_eq!(String::from_utf8(point).unwrap(), row.get::<String, _>(2));
        if value.fract() != 0.0 {
            assert_eq!(token(&row, Rule::Decimals(3)).unwrap(), row.get::<String, _>(3), "{value}");
        }
    }
}

#[tokio::test]
async fn random_values_of_other_types_print_as_the_server_does() {
    let Some(mut connection) = connect().await else {
        return;
    };
    let mut random = Random(2);
    let instants = "SELECT v, replace(to_jsonb(v)::text, '+00:00', 'Z') FROM
        generate_series('0001-01-01'::timestamptz, '9999-12-31', '67 days 01:02:03.000457') AS u(v)";
    for row in query(instants.to_owned()).fetch_all(&mut connection).await.unwrap() {
        assert_eq!(token(&row, Rule::Plain).unwrap(), row.get::<String, _>(1));
    }
    let output = "to_json(format('%s', v))::text";
    let mut intervals = Vec::new();
    for _ in 0..2000 {
        let limit = random.pick(&[1_000, 1_000_000, 1_000_000_000, 1_000_000_000_000_000]);
        let mut part = |limit: i64| random.next().cast_signed() % limit;
        intervals.push(format!("{} months {} days {} microseconds", part(50), part(40), part(limit)));
    }
    compare(&mut connection, "interval", output, &intervals).await;
    // Each pattern of zero and other groups, before what looks like an IPv4 address and what does
    // not.
    let mut addresses = Vec::new();
    for pattern in 0..256_u32 {
        for fill in ["ffff", "1"] {
            let groups: Vec<&str> = (0..8).map(|bit| if pattern >> bit & 1 == 1 { fill } else { "0" }).collect();
            addresses.push(groups.join(":"));
        }
    }
    compare(&mut connection, "inet", output, &addresses).await;
    let queries: Vec<String> = (0..2000).map(|_| random_tsquery(&mut random, 5)).collect();
    compare(&mut connection, "tsquery", output, &queries).await;
    let chain = vec!["a"; 5000].join(" & ");
    compare(&mut connection, "tsquery", output, &[chain]).await;
    let dates: Vec<String> = (0..2000).map(|_| format!("[{},)", random_date(&mut random))).collect();
    compare(&mut connection, "daterange", output, &dates).await;
}

fn random_date(random: &mut Random) -> String {
    let era = random.pick(&["", " BC"]);
    format!("{:04}-{:02}-{:02}{era}", 1 + random.below(4000), 1 + random.below(12), 1 + random.below(28))
}

fn random_tsquery(random: &mut Random, depth: u32) -> String {
    let part = |random: &mut Random| random_tsquery(random, depth - 1);
    if depth == 0 {
        return random.pick(&["a", "b:*", "c:AD", "'it''s'"]).to_owned();
    }
    match random.below(6) {
        0 => format!("({} & {})", part(random), part(random)),
        1 => format!("({} | {})", part(random), part(random)),
        2 => format!("({} <-> {})", part(random), part(random)),
        3 => format!("({} <{}> {})", part(random), random.below(4), part(random)),
        4 => format!("!({})", part(random)),
        _ => part(random),
    }
}
