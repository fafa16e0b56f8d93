//! Against a real server: a listener on this host that answers as each test says.

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::TcpListener;
use std::sync::mpsc::{Receiver, channel};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use selfsame_machine::code::Code;
use selfsame_machine::problem::Problem as _;

use super::*;

/// What a server does with one connection.
enum Answer {
    /// Sends these bytes and closes.
    Bytes(Vec<u8>),
    /// Sends these bytes and then nothing, and keeps the connection.
    Silence(Vec<u8>),
    /// Sends these, and then zeros without end.
    Endless(Vec<u8>),
}

struct Server {
    address: String,
    requests: Arc<Mutex<Vec<String>>>,
}

impl Server {
    /// Answers the request with this number and text. The thread ends with the process of the tests.
    fn new(answer: impl Fn(usize, &str) -> Answer + Send + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = format!("http://{}", listener.local_addr().unwrap());
        let requests = Arc::new(Mutex::new(Vec::new()));
        let seen = Arc::clone(&requests);
        std::thread::spawn(move || {
            let mut open = Vec::new();
            for (number, stream) in listener.incoming().enumerate() {
                let mut stream = stream.unwrap();
                let mut request = String::new();
                let mut lines = BufReader::new(stream.try_clone().unwrap());
                while lines.read_line(&mut request).is_ok_and(|read| read > 2) {}
                seen.lock().unwrap().push(request.clone());
                match answer(number, &request) {
                    Answer::Bytes(bytes) => drop(stream.write_all(&bytes)),
                    Answer::Silence(bytes) => {
                        drop(stream.write_all(&bytes));
                        open.push(stream);
                    }
                    Answer::Endless(bytes) => {
                        let mut sent = stream.write_all(&bytes);
                        while sent.is_ok() {
                            sent = stream.write_all(&[0; 65536]);
                        }
                    }
                }
            }
        });
        Self { address, requests }
    }

    fn url(&self, path: &str) -> Url {
        format!("{}{path}", self.address).parse().unwrap()
    }

    fn requests(&self) -> Vec<String> {
        self.requests.lock().unwrap().clone()
    }
}

fn content() -> Vec<u8> {
    (0..600_000_u32).map(|at| (at / 7 % 251) as u8).collect()
}

fn head(status: &str, more: &str) -> Vec<u8> {
    format!("HTTP/1.1 {status}\r\nConnection: close\r\n{more}\r\n").into_bytes()
}

fn whole(data: &[u8], tag: &str) -> Vec<u8> {
    let mut bytes = head("200 OK", &format!("Content-Length: {}\r\n{tag}", data.len()));
    bytes.extend(data);
    bytes
}

/// What a server that knows parts sends; `cut` ends the connection so many bytes early.
fn part(request: &str, data: &[u8], tag: &str, cut: usize) -> Vec<u8> {
    let value = |name: &str| {
        let lower = request.to_ascii_lowercase();
        let at = lower.find(&format!("{name}: "))? + name.len() + 2;
        request[at..].lines().next().map(str::to_owned)
    };
    let from = value("range").and_then(|range| {
        range
            .strip_prefix("bytes=")
            .and_then(|range| range.strip_suffix('-').map(|from| from.parse::<usize>().unwrap()))
    });
    let mut bytes = match from.filter(|_| value("if-range").is_some_and(|wanted| tag.contains(&wanted))) {
        Some(from) => {
            let (last, total) = (data.len() - 1, data.len());
            let range = format!(
                "Content-Range: bytes {from}-{last}/{total}\r\nContent-Length: {}\r\n{tag}",
                total - from
            );
            let mut bytes = head("206 Partial Content", &range);
            bytes.extend(&data[from..]);
            bytes
        }
        None => whole(data, tag),
    };
    bytes.truncate(bytes.len() - cut);
    bytes
}

struct Bench {
    _home: tempfile::TempDir,
    images: Images,
}

impl Bench {
    fn new() -> Self {
        let home = tempfile::tempdir().unwrap();
        let folder = home.path().join("images");
        let client = Client::direct(Duration::from_millis(700));
        Self { _home: home, images: Images { folder, client, limit: 1 << 20 } }
    }

    fn obtain(&self, wanted: Wanted<'_>) -> Result<Got, ImageError> {
        self.images.obtain(wanted, &mut |_| {})
    }

    fn get(&self, url: &Url, checksum: Option<&Checksum>) -> Result<Got, ImageError> {
        self.obtain(Wanted { url, checksums: None, checksum, renew: false })
    }

    /// What is in the folder, but for locks.
    fn files(&self) -> Vec<String> {
        let Ok(entries) = std::fs::read_dir(&self.images.folder) else { return Vec::new() };
        let names = entries.flatten().map(|entry| entry.file_name().to_string_lossy().into_owned());
        let mut names: Vec<String> = names.filter(|name| !name.starts_with('.')).collect();
        names.sort();
        names
    }
}

fn sha256(data: &[u8]) -> Checksum {
    Checksum::Sha256(Box::new(Sha256::digest(data).into()))
}

fn fetch_error(result: Result<Got, ImageError>) -> FetchError {
    match result {
        Err(ImageError::Fetch { source, .. }) => source,
        other => panic!("{other:?}"),
    }
}

const TAG: &str = "ETag: \"one\"\r\n";

#[test]
fn an_image_is_fetched_once_and_kept_with_what_is_known_of_it() {
    let server = Server::new(|_, _| Answer::Bytes(whole(&content(), TAG)));
    let bench = Bench::new();
    let url = server.url("/disk.img");
    let got = bench.get(&url, None).unwrap();
    assert!(got.fetched && got.vouched == Vouched::Nobody);
    assert!(std::fs::read(&got.path).unwrap() == content());
    let name = file_name(&url);
    assert_eq!(bench.files(), [name.clone(), format!("{name}.toml")]);
    let again = bench.get(&url, Some(&sha256(&content()))).unwrap();
    assert!(!again.fetched && again.vouched == Vouched::ByCaller);
    assert_eq!(server.requests().len(), 1);
    let here = bench.images.list().unwrap();
    assert_eq!(here.len(), 1);
    assert_eq!(here[0].kept.as_ref().unwrap().checksum, Some(sha256(&content())));
    // Another hash than that of what is here.
    assert!(matches!(bench.get(&url, Some(&sha256(b"x"))), Err(ImageError::Mismatch { .. })));
    bench.images.delete(&name).unwrap();
    assert_eq!(bench.files(), Vec::<String>::new());
    assert!(matches!(bench.images.delete(&name), Err(ImageError::NotKept { .. })));
}

#[test]
fn what_was_cut_goes_on_where_it_ended() {
    let server = Server::new(|number, request| {
        Answer::Bytes(part(request, &content(), TAG, if number == 0 { 200_000 } else { 0 }))
    });
    let bench = Bench::new();
    let got = bench.get(&server.url("/a"), Some(&sha256(&content()))).unwrap();
    assert!(std::fs::read(&got.path).unwrap() == content());
    let requests = server.requests();
    assert_eq!(requests.len(), 2);
    assert!(requests[1].to_lowercase().contains("range: bytes=400000-\r\n"), "{}", requests[1]);
    assert!(requests[1].contains("\"one\""));
}

#[test]
fn another_command_goes_on_where_a_dead_one_ended() {
    let server = Server::new(|number, request| {
        Answer::Bytes(match number {
            0 => part(request, &content(), TAG, 200_000),
            1..=3 => head("503 Busy", "Content-Length: 0\r\n"),
            _ => part(request, &content(), TAG, 0),
        })
    });
    let bench = Bench::new();
    let url = server.url("/a");
    assert!(matches!(fetch_error(bench.get(&url, None)), FetchError::Status { status: 503, .. }));
    assert_eq!(server.requests().len(), 4);
    let got = bench.get(&url, Some(&sha256(&content()))).unwrap();
    assert!(server.requests()[4].to_lowercase().contains("range: bytes=400000-\r\n"));
    assert!(std::fs::read(&got.path).unwrap() == content());
    assert!(!bench.files().iter().any(|name| name.contains(".part")), "{:?}", bench.files());
}

#[test]
fn what_never_comes_whole_ends_with_its_part_kept() {
    let server = Server::new(|_, _| {
        let mut bytes = whole(&content(), TAG);
        bytes.truncate(bytes.len() - 1);
        Answer::Bytes(bytes)
    });
    let bench = Bench::new();
    let error = bench.get(&server.url("/a"), None).unwrap_err();
    assert_eq!(error.code(), Code::ImageFetch);
    assert!(error.hints()[0].text.contains("goes on where this one ended"));
    assert!(matches!(fetch_error(Err(error)), FetchError::Cut { .. }));
    assert!(bench.files()[0].ends_with(".part"));
    assert!(server.requests().len() <= 5);
    assert!(bench.images.list().unwrap()[0].partial);
}

#[test]
fn a_file_that_changed_between_two_tries_begins_anew() {
    let other: Vec<u8> = content().into_iter().rev().collect();
    let served = other.clone();
    let server = Server::new(move |number, request| match number {
        0 => Answer::Bytes(part(request, &content(), TAG, 100_000)),
        _ => Answer::Bytes(part(request, &served, "ETag: \"two\"\r\n", 0)),
    });
    let bench = Bench::new();
    let got = bench.get(&server.url("/a"), None).unwrap();
    assert!(std::fs::read(&got.path).unwrap() == other, "two versions were mixed");
}

#[test]
fn a_server_that_mixes_versions_is_not_believed() {
    // It ignores If-Range, and tells another length.
    let server = Server::new(|number, _| {
        Answer::Bytes(match number {
            0 => part("", &content(), TAG, 100_000),
            1 => {
                let range = "Content-Range: bytes 500000-699999/700000\r\nContent-Length: 200000\r\n";
                let mut bytes = head("206 Partial Content", range);
                bytes.extend(vec![1; 200_000]);
                bytes
            }
            _ => whole(&content(), TAG),
        })
    });
    let bench = Bench::new();
    let got = bench.get(&server.url("/a"), None).unwrap();
    assert!(std::fs::read(&got.path).unwrap() == content());
    assert_eq!(server.requests().len(), 3);
}

#[test]
fn a_server_without_parts_or_versions_begins_anew() {
    for tag in ["", "ETag: W/\"weak\"\r\n"] {
        let server = Server::new(move |number, _| {
            let mut bytes = whole(&content(), tag);
            bytes.truncate(bytes.len() - if number == 0 { 100_000 } else { 0 });
            Answer::Bytes(bytes)
        });
        let bench = Bench::new();
        let got = bench.get(&server.url("/a"), None).unwrap();
        assert!(std::fs::read(&got.path).unwrap() == content());
        assert!(!server.requests()[1].to_lowercase().contains("range:"), "{}", server.requests()[1]);
    }
}

#[test]
fn redirects_are_followed_and_loops_end() {
    let server = Server::new(|_, request| {
        let path = request.split(' ').nth(1).unwrap();
        Answer::Bytes(match path {
            "/start" => head("302 Found", "Location: there/a?b\r\nContent-Length: 0\r\n"),
            "/there/a?b" => head("307 Temporary Redirect", "Location: /a\r\nContent-Length: 0\r\n"),
            "/a" => whole(&content(), TAG),
            "/file" => head("302 Found", "Location: file:///etc/passwd\r\nContent-Length: 0\r\n"),
            _ => head("301 Moved", "Location: /loop\r\nContent-Length: 0\r\n"),
        })
    });
    let bench = Bench::new();
    let got = bench.get(&server.url("/start"), None).unwrap();
    assert!(std::fs::read(&got.path).unwrap() == content());
    assert!(matches!(fetch_error(bench.get(&server.url("/loop"), None)), FetchError::Redirects { .. }));
    assert_eq!(server.requests().len(), 3 + 11);
    assert!(matches!(fetch_error(bench.get(&server.url("/file"), None)), FetchError::Location { .. }));
}

#[test]
fn a_wrong_hash_leaves_nothing() {
    let server = Server::new(|_, _| Answer::Bytes(whole(&content(), TAG)));
    let bench = Bench::new();
    let error = bench.get(&server.url("/a"), Some(&sha256(b"other"))).unwrap_err();
    assert_eq!(error.code(), Code::ImageMismatch);
    assert_eq!(bench.files(), Vec::<String>::new());
}

#[test]
fn an_official_image_is_checked_by_its_checksum_file() {
    let digits = sha256(&content()).to_string().replace("sha256:", "");
    let server = Server::new(move |_, request| {
        let path = request.split(' ').nth(1).unwrap();
        Answer::Bytes(match path {
            "/SUMS" => whole(format!("{digits} *disk.img\n").as_bytes(), ""),
            "/none" => whole(format!("{digits} *other.img\n").as_bytes(), ""),
            "/large" => whole(&vec![b'a'; (1 << 20) + 1], ""),
            "/bytes" => whole(b"\xff\xfe", ""),
            _ => whole(&content(), TAG),
        })
    });
    let bench = Bench::new();
    let url = server.url("/disk.img");
    let obtain = |sums: &str, renew| {
        let sums = server.url(sums);
        bench.obtain(Wanted { url: &url, checksums: Some((&sums, "disk.img")), checksum: None, renew })
    };
    let error = obtain("/none", false).unwrap_err();
    assert!(matches!(&error, ImageError::Checksums { .. }) && error.code() == Code::ImageMismatch);
    assert!(matches!(fetch_error(obtain("/large", false)), FetchError::TooLarge { .. }));
    assert!(matches!(fetch_error(obtain("/bytes", false)), FetchError::NotText { .. }));
    assert_eq!(bench.files(), Vec::<String>::new(), "the image was not even asked for");
    let got = obtain("/SUMS", false).unwrap();
    assert_eq!((got.vouched, got.fetched), (Vouched::ByPublisher, true));
    // A newer one is asked for, and it is the same.
    let before = server.requests().len();
    assert!(!obtain("/SUMS", true).unwrap().fetched);
    assert_eq!(server.requests().len(), before + 1);
}

#[test]
fn silence_garbage_and_refusals_are_told_apart() {
    let server = Server::new(|_, request| {
        let path = request.split(' ').nth(1).unwrap();
        match path {
            "/silent" => Answer::Silence(Vec::new()),
            "/stalls" => {
                let mut bytes = whole(&content(), TAG);
                bytes.truncate(1000);
                Answer::Silence(bytes)
            }
            "/garbage" => Answer::Bytes(b"SSH-2.0-OpenSSH_9.2\r\n\x00\xff\r\n\r\n".to_vec()),
            "/headers" => Answer::Endless(b"HTTP/1.1 200 OK\r\nX: ".to_vec()),
            "/broken" => Answer::Bytes(head("500 Oops", "Content-Length: 0\r\n")),
            "/html" => Answer::Bytes(whole(b"<!DOCTYPE html><p>Please log in", "")),
            _ => Answer::Bytes(head("404 Not Found", "Content-Length: 0\r\n")),
        }
    });
    let bench = Bench::new();
    let error = |path: &str| fetch_error(bench.get(&server.url(path), None));
    let began = Instant::now();
    assert!(matches!(error("/silent"), FetchError::Stalled { .. }));
    assert!(matches!(error("/stalls"), FetchError::Stalled { .. }));
    assert!(began.elapsed() < Duration::from_secs(30));
    assert!(matches!(error("/garbage"), FetchError::Garbled { .. }));
    assert!(matches!(error("/headers"), FetchError::Garbled { .. }), "{:?}", error("/headers"));
    assert!(matches!(error("/broken"), FetchError::Status { status: 500, .. }));
    assert!(matches!(error("/none"), FetchError::Missing { status: 404, .. }));
    let html = bench.get(&server.url("/html"), None).unwrap_err();
    assert!(matches!(html, ImageError::NoImage { .. }) && html.code() == Code::ImageInvalid);
    // Nobody listens there.
    let nobody = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let url: Url = format!("http://{nobody}/disk.img").parse().unwrap();
    let unreachable = bench.get(&url, None).unwrap_err();
    let hint = &unreachable.hints()[0].text;
    assert!(hint.contains(url.text()) && hint.contains(bench.images.place(&url).to_str().unwrap()), "{hint}");
    assert!(matches!(fetch_error(Err(unreachable)), FetchError::Unreachable { .. }));
}

#[test]
fn what_never_ends_is_left() {
    let server = Server::new(|_, request| match request.split(' ').nth(1).unwrap() {
        "/long" => Answer::Bytes(head("200 OK", "Content-Length: 999999999999\r\n")),
        _ => Answer::Endless(head("200 OK", "")),
    });
    let bench = Bench::new();
    assert!(matches!(fetch_error(bench.get(&server.url("/endless"), None)), FetchError::TooLarge { .. }));
    assert!(matches!(fetch_error(bench.get(&server.url("/long"), None)), FetchError::TooLarge { .. }));
    assert_eq!(bench.files(), Vec::<String>::new());
}

#[test]
fn two_commands_that_want_one_image_fetch_it_once() {
    let (go, wait): (_, Receiver<()>) = channel();
    let wait = Mutex::new(wait);
    let server = Server::new(move |_, _| {
        wait.lock().unwrap().recv().unwrap();
        Answer::Bytes(whole(&content(), TAG))
    });
    let bench = Bench::new();
    let url = server.url("/a");
    let (told, waits) = channel();
    let (first, second) = std::thread::scope(|scope| {
        let first = scope.spawn(|| bench.get(&url, None));
        while server.requests().is_empty() {
            std::thread::sleep(Duration::from_millis(2));
        }
        assert!(matches!(bench.images.delete("x"), Err(ImageError::NotKept { .. })));
        let wanted = Wanted { url: &url, checksums: None, checksum: None, renew: false };
        let images = &bench.images;
        let second = scope.spawn(move || {
            images.obtain(wanted, &mut |progress| {
                if matches!(progress, Progress::Waiting) {
                    told.send(()).unwrap();
                }
            })
        });
        waits.recv().unwrap();
        go.send(()).unwrap();
        (first.join().unwrap().unwrap(), second.join().unwrap().unwrap())
    });
    assert_eq!((first.fetched, second.fetched), (true, false));
    assert_eq!(server.requests().len(), 1);
}

#[test]
fn what_was_put_there_by_hand_is_taken_and_nobody_vouches_for_it() {
    let bench = Bench::new();
    let url: Url = "https://example.org/disk.img".parse().unwrap();
    std::fs::create_dir(&bench.images.folder).unwrap();
    std::fs::write(bench.images.place(&url), content()).unwrap();
    let got = bench.get(&url, None).unwrap();
    assert_eq!((got.vouched, got.fetched), (Vouched::Nobody, false));
    assert_eq!(bench.get(&url, Some(&sha256(&content()))).unwrap().vouched, Vouched::ByCaller);
    assert!(bench.get(&url, Some(&sha256(b""))).is_err());
}

#[test]
fn what_people_type_is_told_apart() {
    let of = |text: &str| Source::of(OsStr::new(text));
    assert!(matches!(of("debian-13"), Ok(Source::Official(official)) if official.user == "debian"));
    assert!(matches!(of("https://example.org/a"), Ok(Source::Address(_))));
    assert!(matches!(of("ftp://example.org/a"), Err(ImageError::Url { .. })));
    assert!(matches!(of("./debian-13"), Ok(Source::File(_))));
    let error = of("debian13").unwrap_err();
    assert_eq!(error.code(), Code::ImageUnknown);
    assert_eq!(error.hints()[0].text, "there is debian-13");
}

#[test]
fn names_that_lead_elsewhere_delete_nothing() {
    let bench = Bench::new();
    std::fs::create_dir(&bench.images.folder).unwrap();
    let beside = bench.images.folder.join("../library.db");
    std::fs::write(&beside, "x").unwrap();
    for name in ["../library.db", "", ".", "..", "/etc/passwd"] {
        assert!(matches!(bench.images.delete(name), Err(ImageError::NotKept { .. })), "{name}");
    }
    assert!(beside.exists());
}
