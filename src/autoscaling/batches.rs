//! How queries are put into requests (spec external-metrics §11.2).

/// Sum of the sizes of the queries in one request, in URL-encoded bytes, that is not reached: proxies and servers
/// refuse longer request lines, and the rest of the URL needs room below 8 KiB.
pub const SIZE_LIMIT: usize = 7000;

/// Added to the size of each query: separators and what an encoder may do differently.
const OVERHEAD: usize = 16;

/// Queries in requests.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Batches {
    /// One list for each request, in the order of the queries.
    pub requests: Vec<Vec<String>>,
    /// Queries that no request can hold.
    pub too_long: Vec<String>,
}

/// Cuts unique `queries` into requests of at most `most` each.
pub fn cut(queries: impl IntoIterator<Item = String>, most: usize) -> Batches {
    let mut batches = Batches::default();
    let mut current = Vec::new();
    let mut size = 0;
    for query in queries {
        let own = encoded_length(&query) + OVERHEAD;
        if own >= SIZE_LIMIT {
            batches.too_long.push(query);
            continue;
        }
        if !current.is_empty() && (size + own >= SIZE_LIMIT || current.len() >= most) {
            batches.requests.push(std::mem::take(&mut current));
            size = 0;
        }
        size += own;
        current.push(query);
    }
    if !current.is_empty() {
        batches.requests.push(current);
    }
    batches
}

/// Bytes of the form-url-encoded text.
fn encoded_length(text: &str) -> usize {
    let length = |byte: u8| match byte {
        b' ' | b'-' | b'_' | b'.' | b'~' => 1,
        byte if byte.is_ascii_alphanumeric() => 1,
        _ => 3,
    };
    text.bytes().map(length).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sizes(queries: Vec<String>) -> (Vec<usize>, usize) {
        let batches = cut(queries, 35);
        (batches.requests.iter().map(Vec::len).collect(), batches.too_long.len())
    }

    #[test]
    fn external_metrics_19_batches_are_cut_by_number_and_length() {
        let short = |number| format!("avg:m{number}{{*}}.rollup(30)");
        assert_eq!(sizes((0..36).map(short).collect()), (vec![35, 1], 0));
        assert_eq!(sizes((0..3).map(|_| "a".repeat(3400)).collect()), (vec![2, 1], 0));
        let long_first = vec!["a".repeat(7100), short(1), short(2)];
        assert_eq!(sizes(long_first), (vec![2], 1), "the length of a dropped query does not stay");
        assert_eq!(encoded_length("avg:a{*} é"), "avg%3Aa%7B%2A%7D+%C3%A9".len());
    }
}
