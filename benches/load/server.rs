//! A server at work: started on its cores, asked until it answers, read in `/proc`, stopped.

use std::fs::File;
use std::io::ErrorKind;
use std::net::{SocketAddrV4, UdpSocket};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::machine;

/// How long a server may take to answer.
const PATIENCE: Duration = Duration::from_secs(30);

/// A server's process.
pub struct Server {
    child: Child,
    /// Where it listens.
    pub address: SocketAddrV4,
    /// Seconds from the start to the first answer.
    pub start: f64,
}

impl Server {
    /// Starts a command on some cores and asks for the A record of `qname` until it is answered.
    pub fn start(
        command: &[String],
        cores: &[usize],
        address: SocketAddrV4,
        qname: &str,
    ) -> Result<Self, String> {
        let log = std::env::temp_dir().join(format!("nameplate-load-{}.log", std::process::id()));
        let child = spawn(command, cores, &log)?;
        let mut server = Self {
            child,
            address,
            start: 0.0,
        };
        server.start = server.wait(qname).map_err(|error| {
            let said = std::fs::read_to_string(&log).unwrap_or_default();
            let last: Vec<_> = said.lines().rev().take(3).collect();
            format!("{error}; it said: {}", last.join(" / "))
        })?;
        Ok(server)
    }

    /// Seconds until the first answer.
    fn wait(&mut self, qname: &str) -> Result<f64, String> {
        let began = Instant::now();
        let mut query = vec![0, 7, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0];
        for label in qname.split('.') {
            query.push(label.len() as u8);
            query.extend_from_slice(label.as_bytes());
        }
        query.extend_from_slice(&[0, 0, 1, 0, 1]);
        let socket = UdpSocket::bind("127.0.0.1:0").map_err(|error| error.to_string())?;
        let asked = socket
            .connect(self.address)
            .and_then(|()| socket.set_read_timeout(Some(Duration::from_millis(50))));
        asked.map_err(|error| error.to_string())?;
        let mut octets = [0; 2_048];
        while began.elapsed() < PATIENCE {
            if let Ok(Some(status)) = self.child.try_wait() {
                return Err(format!("it ended with {status}"));
            }
            let received = socket.send(&query).and_then(|_| socket.recv(&mut octets));
            match received {
                Ok(12..) if octets[3] & 0xF == 0 => return Ok(began.elapsed().as_secs_f64()),
                Err(error)
                    if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {}
                _ => std::thread::sleep(Duration::from_millis(1)),
            }
        }
        Err("it does not answer".into())
    }

    /// Its process.
    pub fn process(&self) -> u32 {
        self.child.id()
    }

    /// Its resident memory.
    pub fn resident(&self) -> machine::Resident {
        machine::resident(self.process())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        stop(&mut self.child);
    }
}

/// Processes that only use up a core's time.
pub struct Ballast(Vec<Child>);

impl Ballast {
    /// So many of them on a core.
    pub fn start(count: usize, core: usize) -> Result<Self, String> {
        let program = own_program()?;
        let mut ballast = Self(Vec::new());
        for _ in 0..count {
            let child = spawn(
                &[program.clone(), "spin".into()],
                &[core],
                Path::new("/dev/null"),
            )?;
            ballast.0.push(child);
        }
        Ok(ballast)
    }
}

impl Drop for Ballast {
    fn drop(&mut self) {
        self.0.iter_mut().for_each(stop);
    }
}

/// This program, to be started as an echo server, an upstream or ballast.
pub fn own_program() -> Result<String, String> {
    let path = std::env::current_exe().map_err(|error| format!("this program's path: {error}"))?;
    Ok(path.display().to_string())
}

/// A port of loopback that is free for UDP and TCP.
pub fn free_address() -> Result<SocketAddrV4, String> {
    for _ in 0..20 {
        let socket = UdpSocket::bind("127.0.0.1:0").map_err(|error| error.to_string())?;
        let port = socket
            .local_addr()
            .map_err(|error| error.to_string())?
            .port();
        if std::net::TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return Ok(SocketAddrV4::new([127, 0, 0, 1].into(), port));
        }
    }
    Err("no free port".into())
}

/// Starts a command from a thread that is on the cores: a child inherits them.
fn spawn(command: &[String], cores: &[usize], log: &Path) -> Result<Child, String> {
    let (program, arguments) = command.split_first().ok_or("no command")?;
    let output = File::create(log).map_err(|error| format!("{}: {error}", log.display()))?;
    let errors = output.try_clone().map_err(|error| error.to_string())?;
    std::thread::scope(|scope| {
        let thread = scope.spawn(move || {
            machine::pin(cores)?;
            Command::new(program)
                .args(arguments)
                // Go's runtime takes one thread for each core that it sees, and sees the whole machine's.
                .env("GOMAXPROCS", cores.len().to_string())
                .stdin(Stdio::null())
                .stdout(output)
                .stderr(errors)
                .spawn()
                .map_err(|error| format!("{program}: {error}"))
        });
        thread
            .join()
            .map_err(|_| "the starting thread panicked".to_owned())?
    })
}

/// Asks a process to end, and makes it.
fn stop(child: &mut Child) {
    let _ = kill(Pid::from_raw(child.id() as i32), Signal::SIGTERM);
    let began = Instant::now();
    while began.elapsed() < Duration::from_secs(5) {
        if !matches!(child.try_wait(), Ok(None)) {
            return;
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    let _ = child.kill();
    let _ = child.wait();
}
