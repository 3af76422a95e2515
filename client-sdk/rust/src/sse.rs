//! Server-sent events (WHATWG HTML, section 9.2), as far as this API uses them: `event`, `id`, `data`, comments.

/// A reader that is fed bytes as they come. Holds at most one unfinished event.
#[derive(Debug, Default)]
pub(crate) struct Reader {
    rest: Vec<u8>,
    event: String,
    id: String,
    data: Vec<String>,
}

/// One event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Message {
    /// Its type; `message` where the server names none.
    pub(crate) event: String,
    /// The latest id.
    pub(crate) id: String,
    /// Its data, without the last line end.
    pub(crate) data: String,
}

impl Reader {
    /// Takes more bytes, gives the events that they complete.
    pub(crate) fn feed(&mut self, bytes: &[u8]) -> Vec<Message> {
        self.rest.extend_from_slice(bytes);
        let mut messages = Vec::new();
        let mut start = 0;
        while let Some(length) = self.rest[start..].iter().position(|byte| *byte == b'\n') {
            let line = String::from_utf8_lossy(&self.rest[start..start + length]).into_owned();
            start += length + 1;
            messages.extend(self.line(line.strip_suffix('\r').unwrap_or(&line)));
        }
        self.rest.drain(..start);
        messages
    }

    fn line(&mut self, line: &str) -> Option<Message> {
        if line.is_empty() {
            let event = std::mem::take(&mut self.event);
            let data = std::mem::take(&mut self.data);
            let event = if event.is_empty() { "message".to_owned() } else { event };
            return (!data.is_empty()).then(|| Message { event, id: self.id.clone(), data: data.join("\n") });
        }
        let (field, value) = line.split_once(':').unwrap_or((line, ""));
        let value = value.strip_prefix(' ').unwrap_or(value);
        match field {
            "event" => value.clone_into(&mut self.event),
            "id" => value.clone_into(&mut self.id),
            "data" => self.data.push(value.to_owned()),
            _ => (),
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_come_out_whole_however_the_bytes_are_cut() {
        let text = ": hello\n\nid: 1\nevent: change\ndata: {\"a\":\ndata: 1}\n\nretry: 9\n\ndata:x\r\n\r\n";
        let want = [
            Message { event: "change".into(), id: "1".into(), data: "{\"a\":\n1}".into() },
            Message { event: "message".into(), id: "1".into(), data: "x".into() },
        ];
        for size in [1, 2, 7, text.len()] {
            let mut reader = Reader::default();
            let got: Vec<_> = text.as_bytes().chunks(size).flat_map(|chunk| reader.feed(chunk)).collect();
            assert_eq!(got, want, "in pieces of {size}");
        }
    }
}
