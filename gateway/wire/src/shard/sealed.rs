//! Reading and writing of connections with TLS: what `step` does with plain ones, with a session in between.

use super::step::{READS_IN_A_ROW_MAX, Sockets, Step};
use super::tls::Failed;
use super::{Application, Closed, ConnId};
use crate::http;
use rustix::io::Errno;

/// Room for new input, at least: a whole record. An application that leaves less wants to see more at once than there is room for.
const INPUT_BYTES_MIN: usize = 32 * 1024;
/// Buffers above this capacity are given back to the allocator.
const KEPT_BYTES_MAX: usize = 256 * 1024;
/// For a client that speaks plain HTTP to a port with TLS.
const NO_TLS: &[u8] = br#"{"error":"plain_http","reason":"this port speaks TLS; use https or wss"}"#;

impl<A: Application, K> Step<A, K> {
    /// A client speaks first.
    pub(super) fn begin_handshake(&mut self, conn: ConnId) {
        let Some(Some(connection)) = self.connections.get_mut(conn.index as usize) else { return };
        let Some(tls) = &mut connection.tls else { return };
        self.plain.clear();
        self.records.clear();
        match tls.unseal(&mut [], &mut self.plain, &mut self.records) {
            Ok(()) => self.queue_records(conn),
            Err(Failed) => self.io.end(conn, Closed::Tls),
        }
    }

    /// Puts what the session itself has to send behind the records that wait already, and before all plaintext.
    fn queue_records(&mut self, conn: ConnId) {
        let Some(Some(connection)) = self.connections.get_mut(conn.index as usize) else { return };
        let Some(tls) = &mut connection.tls else { return };
        if !self.records.is_empty()
            && let Some(output) = self.io.output(conn)
        {
            let sealed = tls.sealed;
            tls.sealed += self.records.len();
            output.splice(sealed..sealed, self.records.drain(..));
        }
        // What the application wrote before the handshake was over may leave now, too; and so may the last word.
        if tls.is_peer_done || self.io.backlog(conn) > 0 {
            self.io.mark_dirty(conn);
        }
    }

    pub(super) fn read_sealed<S: Sockets<Socket = K>>(&mut self, conn: ConnId, sockets: &mut S) {
        for _ in 0..READS_IN_A_ROW_MAX {
            let Some(Some(connection)) = self.connections.get_mut(conn.index as usize) else { return };
            let Some(tls) = &mut connection.tls else { return };
            let kept = tls.restore_tail(&mut self.receive);
            let shown_again = connection.tail.as_ref().map_or(0, |tail| tail.len());
            let room = (self.receive.len() - kept).saturating_sub(shown_again);
            if room < INPUT_BYTES_MIN {
                return self.io.reset(conn);
            }
            let received = match sockets.receive(&connection.socket, &mut self.receive[kept..kept + room]) {
                Ok(0) if tls.is_untouched() || tls.is_peer_done => return self.io.end(conn, Closed::Eof),
                Ok(0) if tls.is_handshaking() => return self.io.end(conn, Closed::Tls),
                Ok(0) => return self.io.end(conn, Closed::Truncated),
                Ok(received) => received,
                Err(Errno::AGAIN | Errno::INTR) => return,
                Err(_) => return self.io.end(conn, Closed::Reset),
            };
            self.io.note_arrival(conn, || sockets.age(&connection.socket));
            self.plain.clear();
            self.records.clear();
            // A record of a handshake begins with 22, a method with a letter.
            let is_http = tls.is_untouched() && self.receive[0].is_ascii_uppercase();
            let unsealed = if is_http {
                http::write_response(&mut self.records, 400, "application/json", NO_TLS);
                Err(Failed)
            } else {
                tls.unseal(&mut self.receive[..kept + received], &mut self.plain, &mut self.records)
            };
            let is_over = unsealed.is_err() || tls.is_peer_done;
            self.queue_records(conn);
            let goes_on = self.plain.is_empty() || self.deliver_plain(conn);
            if unsealed.is_err() {
                return self.fail(conn, sockets);
            }
            if !goes_on || is_over || received < room {
                return;
            }
        }
    }

    /// Shows the application its tail and the new plaintext, in the buffer that the ciphertext has left. False: it is over.
    fn deliver_plain(&mut self, conn: ConnId) -> bool {
        let Some(Some(connection)) = self.connections.get_mut(conn.index as usize) else { return false };
        let kept = connection.tail.take().map_or(0, |tail| {
            self.receive[..tail.len()].copy_from_slice(&tail);
            tail.len()
        });
        let filled = kept + self.plain.len();
        self.receive[kept..filled].copy_from_slice(&self.plain);
        shrink(&mut self.plain);
        self.deliver(conn, filled)
    }

    /// Sends the alert, or whatever else explains the end, as far as the kernel takes it, and ends.
    fn fail<S: Sockets<Socket = K>>(&mut self, conn: ConnId, sockets: &mut S) {
        let Some(Some(connection)) = self.connections.get_mut(conn.index as usize) else { return };
        if let (Some(tls), Some(output)) = (&mut connection.tls, self.io.output(conn)) {
            output.truncate(tls.sealed);
            if let Ok(sent) = sockets.send(&connection.socket, output) {
                self.io.sent(conn, sent);
            }
            self.hang_up(conn, sockets);
        }
        self.io.end(conn, Closed::Tls);
    }

    /// Makes records of what was written and sends them. `Ok(false)`: the kernel took less. `Err`: it is over.
    ///
    /// While records wait for the kernel, what is written gathers behind them, so that it leaves in few and long records.
    pub(super) fn flush_sealed<S: Sockets<Socket = K>>(
        &mut self,
        conn: ConnId,
        closing: bool,
        sockets: &mut S,
    ) -> Result<bool, Closed> {
        let Some(Some(connection)) = self.connections.get_mut(conn.index as usize) else { return Ok(true) };
        let Some(tls) = &mut connection.tls else { return Ok(true) };
        let mut is_last = closing || tls.is_peer_done;
        self.io.clear_dirty(conn);
        loop {
            let Some(output) = self.io.output(conn) else { return Ok(true) };
            if (tls.sealed == 0 || is_last) && output.len() > tls.sealed {
                self.records.clear();
                let sealed =
                    tls.seal(&output[tls.sealed..], &mut self.records).map_err(|Failed| Closed::Tls)?;
                if sealed || is_last {
                    output.truncate(tls.sealed);
                    output.append(&mut self.records);
                    tls.sealed = output.len();
                    shrink(&mut self.records);
                }
            }
            if is_last {
                tls.say_goodbye(output);
                tls.sealed = output.len();
                is_last = false;
            }
            if tls.sealed == 0 {
                // Plaintext that waits for the handshake does not wait for the kernel.
                self.io.sent(conn, 0);
                break;
            }
            match sockets.send(&connection.socket, &output[..tls.sealed]) {
                Ok(sent) => {
                    tls.sealed -= sent;
                    self.io.sent(conn, sent);
                }
                Err(Errno::AGAIN | Errno::INTR) => break,
                Err(_) => return Err(Closed::Reset),
            }
            if tls.sealed > 0 {
                break;
            }
        }
        if tls.is_peer_done && !closing { Err(Closed::Eof) } else { Ok(tls.sealed == 0) }
    }
}

fn shrink(buffer: &mut Vec<u8>) {
    buffer.clear();
    buffer.shrink_to(KEPT_BYTES_MAX);
}
