use super::*;

fn limits() -> Limits {
    Limits { head: 512, headers: 4, body: 16, ..Limits::default() }
}

fn parsed(text: &str) -> Head {
    head(text.as_bytes(), &limits()).expect("the head is accepted").expect("the head is complete")
}

#[test]
fn a_plain_request_is_read() {
    let text = "GET /version?x=1 HTTP/1.1\r\nHost: a\r\nX-Real-Ip: \r\n\r\nrest";
    let head = parsed(text);
    assert_eq!(head.method, Method::Get);
    assert_eq!(head.target, "/version?x=1");
    assert_eq!(head.headers[1], ("X-Real-Ip".to_owned(), String::new()));
    assert_eq!(head.body, BodyLength::Fixed(0));
    assert!(head.keep_alive && !head.expects_continue);
    assert_eq!(&text[head.length..], "rest");
}

#[test]
fn every_cut_of_a_request_waits_for_more() {
    let text = "POST /x HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\n";
    for cut in 0..text.len() {
        assert_eq!(head(&text.as_bytes()[..cut], &limits()), Ok(None), "{:?}", &text[..cut]);
    }
    assert_eq!(parsed(text).body, BodyLength::Fixed(3));
}

#[test]
fn refused_heads_have_their_status() {
    let long = format!("GET / HTTP/1.1\r\nHost: a\r\nX: {}", "y".repeat(600));
    let cases = [
        (400, "GET / HTTP/1.1\r\n\r\n"),
        (400, "GET / HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n"),
        (400, "GET / HTTP/1.1\nHost: a\n\n"),
        (400, "GET / HTTP/1.1\r\nHost: a\nX: b\r\n\r\n"),
        (400, "GET / HTTP/1.1\r\nHost : a\r\n\r\n"),
        (400, "GET / HTTP/1.1\r\nHost: a\r\n folded: b\r\n\r\n"),
        (400, "GET / HTTP/1.1\r\nHost: a\r\nX: nul\0\r\n\r\n"),
        (400, "GET / HTTP/3.0\r\nHost: a\r\n\r\n"),
        (400, "GET host:443 HTTP/1.1\r\nHost: a\r\n\r\n"),
        (400, "\x16\x03\x01\x02"),
        (400, "G=T / HTTP/1.1\r\nHost: a\r\nContent-Length: -1\r\n\r\n"),
        (400, "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: -1\r\n\r\n"),
        (400, "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: +1\r\n\r\n"),
        (400, "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: \r\n\r\n"),
        (400, "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1, 1\r\n\r\n"),
        (400, "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nContent-Length: 1\r\n\r\n"),
        (
            400,
            "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
        ),
        (
            400,
            "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n",
        ),
        (400, "POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n"),
        (413, "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 17\r\n\r\n"),
        (413, "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1000000000000\r\n\r\n"),
        (413, "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 99999999999999999999999999\r\n\r\n"),
        (417, "POST / HTTP/1.1\r\nHost: a\r\nExpect: tea\r\n\r\n"),
        (431, long.as_str()),
        (431, "GET / HTTP/1.1\r\nHost: a\r\nA: 1\r\nB: 2\r\nC: 3\r\nD: 4\r\n\r\n"),
        (501, "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: identity\r\n\r\n"),
        (501, "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip, chunked\r\n\r\n"),
    ];
    for (status, text) in cases {
        let result = head(text.as_bytes(), &limits());
        let refused = result.expect_err(text);
        assert_eq!(refused.status, status, "{text:?}: {}", refused.reason);
    }
}

#[test]
fn connection_options_decide_about_keeping_it() {
    let cases = [
        ("1.1", "X: y", true),
        ("1.1", "Connection: close", false),
        ("1.1", "Connection: Upgrade, Close", false),
        ("1.0", "X: y", false),
        ("1.0", "Connection: Keep-Alive", true),
    ];
    for (version, field, keep_alive) in cases {
        let text = format!("GET / HTTP/{version}\r\nHost: a\r\n{field}\r\n\r\n");
        assert_eq!(parsed(&text).keep_alive, keep_alive, "{version} {field}");
    }
}

#[test]
fn absolute_targets_lose_their_authority() {
    let cases = [("http://h/a?b", "/a?b"), ("HTTPS://h", "/"), ("*", "*"), ("//v", "//v")];
    for (given, target) in cases {
        let text = format!("GET {given} HTTP/1.1\r\nHost: a\r\n\r\n");
        assert_eq!(parsed(&text).target, target);
    }
}

#[test]
fn chunks_are_joined_wherever_they_are_cut() {
    let encoded = b"4;name=\"v\"\r\nWiki\r\n5 \r\npedia\r\n0\r\nTrailer: x\r\n\r\nNEXT";
    for cut in 0..encoded.len() {
        let (mut chunks, mut body) = (Chunks::new(16), Vec::new());
        let mut input = encoded[..cut].to_vec();
        chunks.decode(&mut input, &mut body).expect("the first part is accepted");
        input.extend_from_slice(&encoded[cut..]);
        chunks.decode(&mut input, &mut body).expect("the second part is accepted");
        assert!(chunks.is_done());
        assert_eq!((&body[..], &input[..]), (&b"Wikipedia"[..], &b"NEXT"[..]));
    }
}

#[test]
fn refused_chunks_have_their_status() {
    let trailers = format!("0\r\n{}", "a: b\r\n".repeat(MAXIMUM_TRAILERS + 1));
    let extension = format!("1;{}", "e".repeat(MAXIMUM_CHUNK_LINE));
    let cases = [
        (400, "x\r\n"),
        (400, "\r\n"),
        (400, "-1\r\n"),
        (400, "0x1\r\n"),
        (400, "1 2\r\n"),
        (400, "1\nX\r\n"),
        (400, "1\r\nXY\r\n"),
        (400, extension.as_str()),
        (413, "11\r\n"),
        (413, "8\r\n12345678\r\n9\r\n"),
        (413, "fffffffffffffffff\r\n"),
        (431, trailers.as_str()),
    ];
    for (status, text) in cases {
        let mut input = text.as_bytes().to_vec();
        let refused = Chunks::new(16).decode(&mut input, &mut Vec::new()).expect_err(text);
        assert_eq!(refused.status, status, "{text:?}: {}", refused.reason);
    }
}
