//! Starts the endpoint's thread, with a runtime of its own.

use crate::priority::Priority;
use std::io;
use std::pin::Pin;
use tokio::runtime::{self, Handle};
use tokio::sync::oneshot;

/// What the thread does, until it is over.
pub(in crate::sip) type Work = Pin<Box<dyn Future<Output = ()> + Send>>;

/// A thread with a runtime of its own, which waits for its work, and tells when that is done.
pub(in crate::sip) fn start_thread() -> io::Result<(std::sync::mpsc::Sender<Work>, oneshot::Receiver<()>, Handle)> {
    let (begin, begun) = std::sync::mpsc::channel::<Work>();
    let (ready, own) = std::sync::mpsc::channel();
    let (ended, over) = oneshot::channel();
    let run = move || {
        Priority::Signalling.take();
        let runtime = runtime::Builder::new_current_thread().enable_all().build();
        let told = ready.send(runtime.as_ref().map(|runtime| runtime.handle().clone()).map_err(|error| error.kind()));
        if let (Ok(()), Ok(runtime), Ok(work)) = (told, runtime, begun.recv()) {
            runtime.block_on(work);
        }
        // Nobody may wait for it.
        let _ = ended.send(());
    };
    std::thread::Builder::new().name("sip".to_owned()).spawn(run)?;
    let own = own.recv().map_err(io::Error::other)??;
    Ok((begin, over, own))
}
