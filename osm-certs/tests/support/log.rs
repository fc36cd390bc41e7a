//! A log in memory.

use std::io::{self, Write};
use std::sync::{Arc, Mutex, Once};

use tracing::Subscriber;
use tracing_subscriber::filter::LevelFilter;
use tracing_subscriber::fmt::MakeWriter;

/// A log in memory.
#[derive(Clone, Default)]
pub(crate) struct Log(Arc<Mutex<Vec<u8>>>);

impl Log {
    /// What writes everything into it.
    pub(crate) fn subscriber(&self) -> impl Subscriber + Send + Sync + 'static {
        listen_everywhere();
        tracing_subscriber::fmt()
            .with_max_level(LevelFilter::TRACE)
            .with_ansi(false)
            .with_writer(self.clone())
            .finish()
    }

    /// All of it, so far.
    pub(crate) fn text(&self) -> String {
        String::from_utf8(self.0.lock().expect("nobody panics holding it").clone()).expect("text")
    }
}

/// Has somebody listen in each thread. With nobody there, what another test's thread comes upon first would be switched off for
/// the whole process, as `tracing` asks only the thread's own subscriber while it knows of one alone.
fn listen_everywhere() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        tracing::subscriber::set_global_default(tracing_subscriber::registry()).expect("nobody else sets it");
    });
}

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().expect("nobody panics holding it").extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl MakeWriter<'_> for Log {
    type Writer = Self;

    fn make_writer(&self) -> Self {
        self.clone()
    }
}
