//! A server of files for tests: HTTP/1.1, one thread, parts by `Range` and `If-Range`.

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::TcpListener;
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// Serves one file under every path. Its thread ends with the process of the tests.
#[derive(Debug)]
pub(crate) struct FileServer {
    address: String,
    requests: Arc<Mutex<Vec<String>>>,
}

impl FileServer {
    /// Sends `data`, with a pause after each piece of 64 KiB.
    pub(crate) fn new(data: Vec<u8>, pause: Duration) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = format!("http://{}", listener.local_addr().unwrap());
        let requests = Arc::new(Mutex::new(Vec::new()));
        let seen = Arc::clone(&requests);
        let data = Arc::new(data);
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let (mut stream, data, seen) = (stream.unwrap(), Arc::clone(&data), Arc::clone(&seen));
                std::thread::spawn(move || {
                    let mut request = String::new();
                    let mut lines = BufReader::new(stream.try_clone().unwrap());
                    while lines.read_line(&mut request).is_ok_and(|read| read > 2) {}
                    let from = request.to_lowercase().lines().find_map(|line| {
                        line.strip_prefix("range: bytes=")?.strip_suffix('-')?.parse::<usize>().ok()
                    });
                    seen.lock().unwrap().push(request);
                    let total = data.len();
                    let head = match from {
                        None => format!("200 OK\r\nContent-Length: {total}"),
                        Some(from) => format!(
                            "206 Partial Content\r\nContent-Range: bytes {from}-{}/{total}\r\nContent-Length: {}",
                            total - 1,
                            total - from
                        ),
                    };
                    let head = format!("HTTP/1.1 {head}\r\nETag: \"one\"\r\nConnection: close\r\n\r\n");
                    let mut sent = stream.write_all(head.as_bytes());
                    for piece in data[from.unwrap_or(0)..].chunks(64 * 1024) {
                        if sent.is_err() {
                            break;
                        }
                        sent = stream.write_all(piece);
                        std::thread::sleep(pause);
                    }
                });
            }
        });
        Self { address, requests }
    }

    pub(crate) fn url(&self, path: &str) -> String {
        format!("{}{path}", self.address)
    }

    pub(crate) fn requests(&self) -> Vec<String> {
        self.requests.lock().unwrap().clone()
    }
}
